"""Draw tables for a notebook, in its own light or dark colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

UP, DOWN = "#e8590c", "#1c7ed6"  # orange and blue: told apart on dark and light, and by the colour-blind

STYLE = """
<style>
.ekiben{--line:rgba(128,128,128,.28);--soft:rgba(128,128,128,.85);--red:#c8442e;font:13px/1.45 system-ui,sans-serif;
 max-width:52rem;border:1px solid var(--line);border-radius:10px;padding:14px 18px;margin:6px 0}
.ekiben h3{margin:0;font-size:16px}.ekiben .sub{color:var(--soft);margin:1px 0 10px}
.ekiben .grid{display:flex;gap:22px;flex-wrap:wrap;margin:0 0 10px}
.ekiben .fact b{display:block;font-size:15px;white-space:nowrap;font-variant-numeric:tabular-nums}
.ekiben .fact span{color:var(--soft);font-size:12px}
.ekiben table{border-collapse:collapse;width:100%;margin:0;table-layout:auto!important}
.ekiben tr{background:transparent!important}
.ekiben td,.ekiben th{text-align:left!important;padding:3px 12px 3px 0;border-top:1px solid var(--line);vertical-align:middle}
.ekiben th{color:var(--soft);font-weight:500;border-top:0}
.ekiben svg{display:block}.ekiben li{margin:2px 0}.ekiben ul{margin:10px 0 0;padding-left:18px}
.ekiben code{font-size:12px;background:rgba(128,128,128,.13);padding:1px 4px;border-radius:4px}
</style>
"""


def table(title: str, words: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Draw a titled table of texts; a column that is empty in every row is left out.

    Examples
    --------
    >>> "<th>name</th><tr>" in table("two", "", ("name", "none"), [("a", "")]).replace("</tr></thead><tbody>", "")
    True
    """
    cells = [list(row) for row in rows]
    kept = [i for i in range(len(head)) if any(row[i] for row in cells)]
    heads = "".join(f"<th>{escape(head[i])}</th>" for i in kept)
    body = "".join("<tr>" + "".join(f"<td>{escape(row[i])}</td>" for i in kept) + "</tr>" for row in cells)
    return (
        f'{STYLE}<div class="ekiben"><h3>{escape(title)}</h3><div class="sub">{escape(words)}</div>'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )
