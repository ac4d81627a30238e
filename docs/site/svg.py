"""Boxes and arrows, or a matrix, as an SVG that needs nothing from anywhere: no script, no font, no style sheet.

Places are in columns and rows, from 0 on, and may lie between them; a box has its middle there.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Literal, NamedTuple

COLUMN, ROW, MARGIN = 150.0, 84.0, 16.0
GAP = 7.0
"""How far the two arrows between the same boxes are apart, from the line between the middles."""
TONES = {
    "plain": ("#ffffff", "#475569"),
    "good": ("#dcfce7", "#15803d"),
    "bad": ("#fee2e2", "#b91c1c"),
    "end": ("#e2e8f0", "#334155"),
}
"""Fill and outline, by what a box stands for."""
TIP = """\
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0,0.8 L7.5,4 L0,7.2 z" fill="#475569"/></marker></defs>"""

SIDE, LANE, LINE = 190.0, 92.0, 21.0
"""Of a matrix: how wide the names of the rows are, and a column, and how high a row is, in pixels."""

Point = tuple[float, float]
Mark = Literal["full", "part", ""]
"""What stands in a cell of a matrix: a dot, a ring, nothing."""


class Box(NamedTuple):
    """A box: what it says, a second smaller line, its middle, its size in pixels, its tone."""

    text: str
    column: float
    row: float
    note: str = ""
    width: float = 112.0
    height: float = 38.0
    tone: str = "plain"

    @property
    def middle(self) -> Point:
        return MARGIN + (self.column + 0.5) * COLUMN, MARGIN + (self.row + 0.5) * ROW


class Arrow(NamedTuple):
    """An arrow between two boxes, by name; *via* is the place at which it bends."""

    start: str
    end: str
    text: str = ""
    via: Point | None = None


def drawing(title: str, boxes: dict[str, Box], arrows: Iterable[Arrow], size: Point) -> str:
    """The figure, of *size* columns and rows, as text."""
    arrows = list(arrows)
    pairs = {(arrow.start, arrow.end) for arrow in arrows}
    lines = [_arrow(arrow, boxes, (arrow.end, arrow.start) in pairs) for arrow in arrows]
    return _card(title, size[0] * COLUMN, size[1] * ROW, [*lines, *(_box(box) for box in boxes.values())])


def matrix(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[Mark]], legend: Mapping[Mark, str]) -> str:
    """A table of marks as text: *rows* by name, with a mark for each column. Those of one `name:` are a group."""
    width = SIDE + LANE * len(columns)
    lines = [_cell(_lane(place), 12, name) for place, name in enumerate(columns)]
    group, y = "", 26.0
    for name, marks in rows.items():
        if name.partition(":")[0] != group:
            lines.append(f'<path d="M{MARGIN:g},{MARGIN + y + 8:g} h{width:g}" stroke="#cbd5e1"/>')
            group, y = name.partition(":")[0], y + 9
        y += LINE
        lines.append(_cell(0, y, name, "start"))
        lines += [_mark(_lane(place), y, mark) for place, mark in enumerate(marks)]
    y += 1.5 * LINE
    for place, (mark, text) in enumerate(legend.items()):
        lines += [_mark(_lane(2 * place), y, mark), _cell(_lane(2 * place) + 12, y, text, "start")]
    return _card(title, width, y + 8, lines)


def _lane(place: int) -> float:
    """The middle of a column of a matrix."""
    return SIDE + LANE * (place + 0.5)


def _card(title: str, inner_width: float, inner_height: float, lines: Iterable[str]) -> str:
    width, height = inner_width + 2 * MARGIN, inner_height + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">',
            f"<title>{escape(title)}</title>",
            TIP,
            f'<rect width="{width:g}" height="{height:g}" rx="10" fill="#f8fafc"/>',
            '<g font-family="ui-sans-serif, system-ui, sans-serif" font-size="13" text-anchor="middle">',
            *lines,
            "</g>",
            "</svg>\n",
        ]
    )


def _cell(x: float, y: float, text: str, anchor: str = "middle") -> str:
    place = f'x="{MARGIN + x:g}" y="{MARGIN + y:g}"'
    return f'<text {place} text-anchor="{anchor}" font-size="12" fill="#0f172a">{escape(text)}</text>'


def _mark(x: float, y: float, mark: Mark) -> str:
    if not mark:
        return ""
    fill, stroke = TONES["good"]
    inside = stroke if mark == "full" else fill
    return f'<circle cx="{MARGIN + x:g}" cy="{MARGIN + y - 4:g}" r="5.5" fill="{inside}" stroke="{stroke}"/>'


def _box(box: Box) -> str:
    (x, y), (fill, stroke) = box.middle, TONES[box.tone]
    place = f'x="{x - box.width / 2:g}" y="{y - box.height / 2:g}" width="{box.width:g}" height="{box.height:g}"'
    lines = [f'<rect {place} rx="7" fill="{fill}" stroke="{stroke}"/>']
    lines.append(f'<text x="{x:g}" y="{y + (-2 if box.note else 4.5):g}" fill="#0f172a">{escape(box.text)}</text>')
    if box.note:
        lines.append(f'<text x="{x:g}" y="{y + 13:g}" font-size="10.5" fill="#64748b">{escape(box.note)}</text>')
    return "".join(lines)


def _arrow(arrow: Arrow, boxes: dict[str, Box], both_ways: bool) -> str:
    start, end = boxes[arrow.start], boxes[arrow.end]
    bend = Box("", *arrow.via).middle if arrow.via else None
    aside = _aside(start.middle, end.middle) if both_ways else (0.0, 0.0)
    first = _border(start, bend or end.middle, aside)
    last = _border(end, bend or start.middle, aside)
    course = f"M{_at(first)} Q{_at(bend)} {_at(last)}" if bend else f"M{_at(first)} L{_at(last)}"
    path = f'<path d="{course}" fill="none" stroke="#475569" stroke-width="1.3" marker-end="url(#tip)"/>'
    return path + (_label(arrow.text, first, bend, last, 0.3 if both_ways else 0.5) if arrow.text else "")


def _label(text: str, first: Point, bend: Point | None, last: Point, part: float) -> str:
    x, y = first[0] + (last[0] - first[0]) * part, first[1] + (last[1] - first[1]) * part
    if bend:  # the middle of the curve, not of its control points
        x, y = (x + bend[0]) / 2, (y + bend[1]) / 2
    halo = 'stroke="#f8fafc" stroke-width="5" paint-order="stroke"'
    return f'<text x="{x:g}" y="{y + 4:g}" font-size="11" fill="#475569" {halo}>{escape(text)}</text>'


def _at(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"


def _aside(start: Point, end: Point) -> Point:
    x, y = abs(end[0] - start[0]), abs(end[1] - start[1])
    sign = 1 if (end > start) else -1
    slope = 1 if (end[0] - start[0]) * (end[1] - start[1]) >= 0 else -1
    length = (x * x + y * y) ** 0.5
    return -y / length * GAP * sign, x / length * GAP * sign * slope


def _border(box: Box, towards: Point, aside: Point) -> Point:
    """Where the line from the middle of *box* to the point *towards*, both moved *aside*, leaves the box.

    A wide box is left where the line is steepest.
    """
    room = max(0.0, box.width / 2 - 56) if box.width > 224 else 0.0
    x, y = box.middle[0] + max(-room, min(room, towards[0] - box.middle[0])), box.middle[1]
    across, down = towards[0] - x, towards[1] - y
    x, y = x + aside[0], y + aside[1]
    side = box.middle[0] + box.width / 2 * (1 if across > 0 else -1)
    floor = box.middle[1] + box.height / 2 * (1 if down > 0 else -1)
    reach = min((side - x) / across if across else 1e9, (floor - y) / down if down else 1e9)
    return x + across * reach, y + down * reach
