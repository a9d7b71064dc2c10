"""A page of HTML as a reader meets it: its elements in order, balanced, and its text."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input"}


@dataclass
class Element:
    name: str
    attributes: dict
    text: str = ""


@dataclass
class Read:
    elements: list = field(default_factory=list)
    text: str = ""

    def all(self, name, **attributes):
        return [
            each
            for each in self.elements
            if each.name == name
            and all(each.attributes.get(key.rstrip("_")) == value for key, value in attributes.items())
        ]


class _Parser(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.read, self.open = Read(), []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), "an attribute comes twice"
        self.read.elements.append(element := Element(tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.read.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop().name == tag, f"</{tag}> closes what it did not open"

    def handle_data(self, data):
        for element in self.open:
            element.text += data
        if not any(element.name == "style" for element in self.open):
            self.read.text += data


def read(html):
    """Read HTML, and see that each element is closed where it was opened."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return parser.read
