"""Headers of Arrow and footers of Parquet as no library writes them: a few bytes that promise much."""

import struct

SCHEMA_MESSAGE, STRUCT, DOUBLE, UTF8, NULL = 1, 13, 3, 5, 1


class Flat:
    """A flatbuffer that is written from its root on; what a table points to is told afterwards."""

    def __init__(self):
        self.data = bytearray(4)

    def table(self, **fields):
        """Write a table of fields by their number: bytes, or None for what it will point to; give it and those places."""
        numbers = {int(name[1:]): value for name, value in fields.items()}
        n = max(numbers, default=-1) + 1
        self._align()
        begins = len(self.data)
        self.data += bytes(4 + 2 * n)
        self._align()
        at, places = len(self.data), {}
        self.data += struct.pack("<i", at - begins)
        for number, value in numbers.items():
            self._align(8 if value is not None and len(value) == 8 else 4)
            places[number] = len(self.data)
            self.data += bytes(4) if value is None else value
        struct.pack_into("<HH", self.data, begins, 4 + 2 * n, len(self.data) - at)
        for number, place in places.items():
            struct.pack_into("<H", self.data, begins + 4 + 2 * number, place - at)
        return at, places

    def point(self, place, at):
        struct.pack_into("<I", self.data, place, at - place)

    def text(self, text):
        self._align()
        at = len(self.data)
        self.data += struct.pack("<I", len(text)) + text + b"\0"
        return at

    def vector(self, n):
        """Write a vector of `n` tables, and give it and where each is pointed to."""
        self._align()
        at = len(self.data)
        self.data += struct.pack("<I", n) + bytes(4 * n)
        return at, [at + 4 + 4 * i for i in range(n)]

    def _align(self, n=8):
        self.data += bytes(-len(self.data) % n)


def field(flat, name, kind):
    """Write a field that may be null, and give it and where its children are pointed to."""
    at, to = flat.table(f0=None, f1=b"\1", f2=bytes([kind]), f3=None, f5=None)
    flat.point(to[0], flat.text(name))
    given = {"f0": struct.pack("<h", 2)} if kind == DOUBLE else {}
    flat.point(to[3], flat.table(**given)[0])
    return at, to[5]


def schema(*names_and_kinds, texts=(0, b""), of_message=False, levels=0, fan=2):
    """Write the first message of a stream: its fields, one text beside them many times, and a type of many levels.

    Each level has one field, to which the one above points `fan` times.
    """
    flat, (n_texts, text) = Flat(), texts
    beside = {"f4": None} if of_message else {}
    message, to = flat.table(f0=struct.pack("<h", 4), f1=bytes([SCHEMA_MESSAGE]), f2=None, **beside)
    flat.point(0, message)
    at, within = flat.table(f1=None, f2=None)
    flat.point(to[2], at)
    fields, places = flat.vector(len(names_and_kinds) + bool(levels))
    flat.point(within[1], fields)
    for place, (name, kind) in zip(places, names_and_kinds, strict=False):
        made, children = field(flat, name, kind)
        flat.point(place, made)
        flat.point(children, flat.vector(0)[0])
    above = places[-1:] if levels else []
    for level in range(levels):
        made, children = field(flat, b"x", STRUCT if level < levels - 1 else NULL)
        for place in above:
            flat.point(place, made)
        several, above = flat.vector(fan if level < levels - 1 else 0)
        flat.point(children, several)
    pairs, places = flat.vector(n_texts)
    flat.point(to[4] if of_message else within[2], pairs)
    flat.point(within[2], pairs if not of_message else flat.vector(0)[0])
    pair, to = flat.table(f0=None, f1=None)
    flat.point(to[0], flat.text(b"k"))
    flat.point(to[1], flat.text(text))
    for place in places:
        flat.point(place, pair)
    flat.data += bytes(-len(flat.data) % 8)
    return struct.pack("<ii", -1, len(flat.data)) + bytes(flat.data)


def behind_schema(stream):
    """Give what comes behind the first message of a stream."""
    return stream[8 + struct.unpack_from("<i", stream, 4)[0] :]


# ── Thrift's compact protocol ──


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def i32(number):
    return 5, varint(number << 1)


def i64(number):
    return 6, varint(number << 1)


def text(data):
    return 8, varint(len(data)) + data


def several(kind, parts):
    return 9, bytes([0xF0 | kind]) + varint(len(parts)) + b"".join(parts)


def record(*fields):
    """Write a struct of (number, (kind, bytes)); the numbers may come in any order, and twice."""
    return b"".join(bytes([kind]) + varint(number << 1) + data for number, (kind, data) in fields) + b"\0"


def element(name, *, kind=None, children=None):
    told = [(1, i32(kind))] if kind is not None else []
    told += [(3, i32(0)), (4, text(name))]
    return record(*told, *([(5, i32(children))] if children is not None else []))


def page(n_values, data, *, also=()):
    """Write a page of plain values that are not packed; `also` are fields that its header tells as well."""
    own = record((1, i32(n_values)), (2, i32(0)), (3, i32(3)), (4, i32(3)))
    return record((1, i32(0)), (2, i32(len(data))), (3, i32(len(data))), (5, (12, own)), *also) + data


def chunk(n_values, length, *, at=4, also=()):
    told = (1, i32(1)), (2, several(5, [varint(0)])), (3, several(8, [varint(1) + b"a"])), (4, i32(0))
    sizes = (5, i64(n_values)), (6, i64(length)), (7, i64(length)), (9, i64(at)), *also
    return record((2, i64(0)), (3, (12, record(*told, *sizes))))


def parquet(pages, *groups, n_rows=0, elements=None, texts=(), beside=()):
    """Write a file of one column of integers; each group is the chunks that it has, and `beside` records like those of texts."""
    elements = elements or [element(b"r", children=1), element(b"a", kind=1)]
    told = [record((1, several(12, chunks)), (2, i64(0)), (3, i64(n_rows))) for chunks in groups]
    pairs = [*beside, *(record((1, text(key)), (2, text(value))) for key, value in texts)]
    rows = (3, i64(n_rows * len(groups)))
    footer = record((1, i32(2)), (2, several(12, elements)), rows, (4, several(12, told)), (5, several(12, pairs)))
    return b"PAR1" + pages + footer + struct.pack("<I", len(footer)) + b"PAR1"
