"""CSV (RFC 4180) in which null and the empty text differ: an empty cell is null, `""` is empty text."""

from __future__ import annotations

from collections.abc import Sequence

# Characters of one row; a quote that is never closed must not swallow a whole file.
MAX_ROW = 16 * 1024 * 1024


class CsvError(Exception):
    """A row that cannot be read."""


def row_text(cells: Sequence[str | None]) -> str:
    """One row with its line end."""
    return ",".join(_quoted(cell) for cell in cells) + "\r\n"


def _quoted(cell: str | None) -> str:
    if cell is None:
        return ""
    if cell and not any(char in cell for char in ',"\r\n') and cell == cell.strip():
        return cell
    return '"' + cell.replace('"', '""') + '"'


class CsvReader:
    """Rows out of text that comes in pieces."""

    def __init__(self) -> None:
        self._rest = ""
        # Where the search for the end of the row goes on, and whether it is inside of quotes there.
        self._at = 0
        self._quoted = False

    def feed(self, text: str) -> list[str]:
        """The rows that are complete now, as text without their line ends. CsvError for one without an end."""
        self._rest += text
        rows = []
        start = 0
        while (end := self._end()) >= 0:
            rows.append(self._rest[start:end].removesuffix("\r"))
            start = self._at = end + 1
        self._rest, self._at = self._rest[start:], self._at - start
        if len(self._rest) > MAX_ROW:
            raise CsvError("a row has no end; a quote may be missing")
        return rows

    def _end(self) -> int:
        """The place of the line end that closes the row, -1 where there is none yet."""
        while True:
            if self._quoted:
                close = self._rest.find('"', self._at)
                if close < 0:
                    self._at = len(self._rest)
                    return -1
                self._quoted, self._at = False, close + 1
            quote, line = self._rest.find('"', self._at), self._rest.find("\n", self._at)
            if line >= 0 and (quote < 0 or line < quote):
                return line
            if quote < 0:
                self._at = len(self._rest)
                return -1
            self._quoted, self._at = True, quote + 1

    def rest(self) -> str | None:
        """The last row, where the text did not end with a line end."""
        return self._rest.removesuffix("\r") or None


def cells_of(row: str) -> list[str | None]:
    """The cells of a row. CsvError where quotes do not fit."""
    cells: list[str | None] = []
    at = 0
    while True:
        if row.startswith('"', at):
            cell, at = _quoted_cell(row, at + 1)
            cells.append(cell)
        else:
            end = row.find(",", at)
            end = len(row) if end < 0 else end
            if '"' in row[at:end]:
                raise CsvError("a quote within a cell that is not quoted")
            cells.append(row[at:end] or None)
            at = end
        if at >= len(row):
            return cells
        if row[at] != ",":
            raise CsvError("text behind a closing quote")
        at += 1


def _quoted_cell(row: str, at: int) -> tuple[str, int]:
    parts = []
    while True:
        end = row.find('"', at)
        if end < 0:
            raise CsvError("a quote is not closed")
        parts.append(row[at:end])
        if not row.startswith('"', end + 1):
            return "".join(parts), end + 1
        parts.append('"')
        at = end + 2
