"""What a terminal shows after a program has printed to it, and that as an SVG.

It understands what Tekton prints: colours, and lines that are overwritten. Everything else that begins with ESC is left
out.
"""

import re
from html import escape
from itertools import groupby
from typing import NamedTuple

COLOURS = {31: "#f87171", 32: "#4ade80", 33: "#facc15", 34: "#60a5fa", 35: "#c084fc", 36: "#22d3ee"}
PLAIN, DIM, BRIGHT, GROUND = "#d4d4d8", "#8b8b96", "#ffffff", "#18181b"
CHARACTER, LINE, SIZE, BORDER = 8.0, 19.0, 13.3, 18.0
"""Width of a character, height of a line, size of the font, and the border around, in pixels."""

FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"

_TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b.|(\r)|(\n)|([^\x1b\r\n]+)")
_WORDS = re.compile(r"\S+(?: \S+)*")


class Cell(NamedTuple):
    """A character, and its colour."""

    text: str
    colour: str


class Screen:
    """Lines without end, and a cursor."""

    def __init__(self) -> None:
        self.lines: list[list[Cell]] = [[]]
        self._row = self._column = 0
        self._colour = PLAIN

    def write(self, text: str) -> None:
        """Take what a program prints."""
        for arguments, letter, start, down, shown in _TOKEN.findall(text):
            if start:
                self._column = 0
            elif down:
                self._down()
            elif letter:
                self._control(letter, [int(number) for number in re.findall(r"\d+", arguments)])
            for character in shown:
                self._put(Cell(character, self._colour))

    def text(self) -> list[str]:
        """The lines, without colours and without the spaces at their ends."""
        return ["".join(cell.text for cell in line).rstrip() for line in self.lines]

    def _down(self) -> None:
        self._row += 1
        self._column = 0
        if self._row == len(self.lines):
            self.lines.append([])

    def _put(self, cell: Cell) -> None:
        line = self.lines[self._row]
        line.extend([Cell(" ", PLAIN)] * (self._column - len(line)))
        line[self._column : self._column + 1] = [cell]
        self._column += 1

    def _control(self, letter: str, numbers: list[int]) -> None:
        if letter == "A":
            self._row = max(0, self._row - (numbers or [1])[0])
        elif letter == "K":
            del self.lines[self._row][0 if numbers == [2] else self._column :]
        elif letter == "J":
            del self.lines[self._row][self._column :], self.lines[self._row + 1 :]
        elif letter == "m":
            for number in numbers or [0]:
                self._colour = COLOURS.get(number, {0: PLAIN, 1: BRIGHT, 2: DIM, 39: PLAIN}.get(number, self._colour))


def drawn(screen: Screen, title: str, columns: int) -> str:
    """*screen* as an SVG with a window around it."""
    lines = screen.lines[:]
    while lines and not lines[-1]:
        lines.pop()
    width, top = columns * CHARACTER + 2 * BORDER, 44.0
    height = top + len(lines) * LINE + BORDER
    dots = "".join(
        f'<circle cx="{24 + 20 * place}" cy="21" r="6" fill="{colour}"/>'
        for place, colour in enumerate(("#f87171", "#facc15", "#4ade80"))
    )
    rows = [f'<text y="{top + (row + 0.8) * LINE:g}">{_spans(line)}</text>' for row, line in enumerate(lines) if line]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width:g}" height="{height:g}" rx="10" fill="{GROUND}"/>{dots}',
            f'<g font-family="{FONT}" font-size="{SIZE}">',
            *rows,
            "</g>",
            "</svg>\n",
        ]
    )


def _spans(line: list[Cell]) -> str:
    spans, column = [], 0
    for colour, cells in groupby(line, key=lambda cell: cell.colour):
        text = "".join(cell.text for cell in cells)
        for words in _WORDS.finditer(text):
            # Place and length are said, so that columns stand in line in every font.
            place, length = BORDER + (column + words.start()) * CHARACTER, len(words[0]) * CHARACTER
            spans.append(f'<tspan x="{place:g}" textLength="{length:g}" fill="{colour}">{escape(words[0])}</tspan>')
        column += len(text)
    return "".join(spans)
