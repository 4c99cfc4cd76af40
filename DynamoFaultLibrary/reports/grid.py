"""A table of texts, for log.html and for the console."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_CELL = "border:1px solid #cbd5e0;padding:2px 8px;vertical-align:top;text-align:"
_TABLE = "border-collapse:collapse;background:#fff;color:#1a202c;font:12px sans-serif;margin:4px 0"


@dataclass(frozen=True)
class Grid:
    """Columns of words are on the left, those of figures on the right; the first one has words."""

    header: list[str]
    rows: list[list[str]]
    words: int = 1
    """How many columns have words."""

    def to_html(self) -> str:
        """For log.html: dark on white, no style sheet needed."""
        rows = "".join(self._html_row(cells, "td") for cells in self.rows)
        return f'<table style="{_TABLE}">{self._html_row(self.header, "th")}{rows}</table>'

    def to_text(self) -> str:
        """For the console: columns aligned."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        rule = ["-" * width for width in widths]
        return "\n".join(self._text_row(cells, widths) for cells in (self.header, rule, *self.rows))

    def _html_row(self, cells: Sequence[str], tag: str) -> str:
        sides = ["left" if column < self.words else "right" for column in range(len(cells))]
        inner = (
            f'<{tag} style="{_CELL}{side}">{escape(cell)}</{tag}>' for cell, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{''.join(inner)}</tr>"

    def _text_row(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        aligned = [
            cell.ljust(width) if column < self.words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()
