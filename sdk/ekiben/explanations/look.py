"""The colours and sizes of cards and pages: one stylesheet each, and no style or script beside them."""

from __future__ import annotations

import hashlib
from base64 import b64encode

from ekiben.drawing import DOWN, UP

CARD = f"""
.ek{{font:14px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;--soft:inherit;--line:rgba(128,128,128,.3);
--track:rgba(128,128,128,.16)}}
.ek section{{margin:8px 0;padding:14px 18px;border:1px solid var(--line);border-radius:10px;overflow-x:auto}}
.ek h2{{font-size:15px;font-weight:600;margin:0 0 8px}}
.ek p{{margin:0 0 8px}}
.ek table{{border-collapse:collapse;width:100%;margin:0;table-layout:auto!important;font-size:14px}}
.ek tr{{background:none!important}}
.ek th,.ek td{{padding:4px 14px 4px 0;text-align:left!important;vertical-align:middle;border-top:1px solid var(--line)}}
.ek thead th{{border-top:0;font-weight:500;color:var(--soft)}}
.ek tbody th{{font-weight:400}}
.ek td:last-child,.ek th:last-child{{padding-right:0}}
.ek .name{{overflow-wrap:anywhere;min-width:7em}}
.ek .value{{overflow-wrap:anywhere;min-width:6.5em}}
.ek .bar{{min-width:11em;width:45%}}
.ek .number{{text-align:right!important;white-space:nowrap;font-variant-numeric:tabular-nums}}
.ek .end td,.ek .end th,.ek .answer td,.ek .answer th{{font-weight:600}}
.ek svg{{display:block}}
.ek .up{{fill:{UP}}}.ek .down{{fill:{DOWN}}}
.ek .track{{fill:var(--track)}}
.ek .mark{{stroke:currentColor;stroke-width:1.5;opacity:.55}}
.ek .doubt{{stroke:currentColor;stroke-width:1.5}}
.ek .asked{{stroke:{UP};stroke-width:2.5}}
.ek .changed{{border-left:4px solid {UP};padding-left:8px;font-weight:600}}
.ek .side{{white-space:nowrap}}
.ek code{{font:13px ui-monospace,monospace;background:var(--track);padding:1px 5px;border-radius:4px;color:inherit}}
.ek .note{{color:var(--soft);font-size:13px;margin:8px 0 0}}
"""

LIGHT = {"--paper": "#ffffff", "--ink": "#1b1f24", "--soft": "#57606a"}
DARK = {"--paper": "#14171a", "--ink": "#e7eaed", "--soft": "#a2abb5"}


def _declared(colours: dict[str, str]) -> str:
    return ";".join(f"{name}:{colour}" for name, colour in colours.items())


PAGE = f"""
body.ek{{{_declared(LIGHT)};margin:0;background:var(--paper);color:var(--ink)}}
@media (prefers-color-scheme:dark){{body.ek{{{_declared(DARK)}}}}}
main{{max-width:54rem;margin:0 auto;padding:28px 20px 40px}}
header p{{color:var(--soft)}}
h1{{font-size:28px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}}
.ek section{{margin:16px 0}}
.ek article{{margin-top:44px}}.ek article>h2{{font-size:21px;overflow-wrap:anywhere}}
.ek h3{{font-size:15px;font-weight:600;margin:0 0 8px}}
ol{{margin:0;padding-left:22px}}li{{margin:3px 0;overflow-wrap:anywhere}}
dl{{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;margin:0}}
dt{{color:var(--soft)}}dd{{margin:0;overflow-wrap:anywhere}}
summary{{cursor:pointer;font-weight:600}}details table{{margin-top:8px}}
@media (max-width:620px){{main{{padding:20px 10px}}.ek section{{padding:12px}}.ek th,.ek td{{padding-right:8px}}
.ek .bar{{min-width:5em;width:auto}}.ek .number{{white-space:normal}}.ek .name{{min-width:5em}}.ek .value{{min-width:4em}}}}
@media print{{body.ek{{{_declared(LIGHT)}}}section{{break-inside:avoid}}}}
"""

SHEET = CARD + PAGE
_HASH = b64encode(hashlib.sha256(SHEET.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
