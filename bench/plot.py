"""What was measured, as the one picture of the README: requests a second beside those of PocketBase, in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

_LABEL, _SCALE, _WIDTH, _BAR, _ROW, _TOP = 330, 150, 860, 18, 30, 44
# Bars longer than this end with their number.
_MOST = 3.0

_STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2933 }
.note { font-size: 12px; fill: #616e7c }
.ahead { fill: #2f855a } .behind { fill: #c05621 }
.peer { stroke: #616e7c; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) { text { fill: #e4e7eb } .note { fill: #9aa5b1 } .peer { stroke: #9aa5b1 } }
"""


def picture(ratios: Sequence[tuple[str, float]], peer: str) -> str:
    """One bar for each request: its name, and how many times the peer's rate ours is."""
    height = _TOP + _ROW * len(ratios) + 12
    line = _LABEL + _SCALE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>Requests a second, as a multiple of {escape(peer)}</title><style>{_STYLE}</style>",
        f'<text class="note" x="{line}" y="20" text-anchor="middle">{escape(peer)} = 1</text>',
        f'<line class="peer" x1="{line}" y1="28" x2="{line}" y2="{height - 8}"/>',
    ]
    for number, (name, ratio) in enumerate(ratios):
        y = _TOP + _ROW * number
        length = min(ratio, _MOST) * _SCALE
        kind = "ahead" if ratio >= 1 else "behind"
        parts += [
            f'<text x="{_LABEL - 10}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{_LABEL}" y="{y}" width="{length:.0f}" height="{_BAR}" rx="3"/>',
            f'<text x="{_LABEL + length + 8:.0f}" y="{y + 14}">{ratio:.2f} ×</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
