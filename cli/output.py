"""What a command prints: its result on standard output, all else on standard error."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

# A value that json.dumps takes.
Document: TypeAlias = Mapping[str, object]

UNBOUNDED = 100_000


class Output:
    """Prints results as a JSON document or for people, as the caller asked."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        # In a pipe no line is wrapped, whatever COLUMNS says.
        width = None if sys.stdout.isatty() else UNBOUNDED
        self._out = Console(width=width, markup=False, highlight=False, emoji=False)
        self._err = Console(stderr=True, markup=False, highlight=False, emoji=False)

    @property
    def notes(self) -> Console:
        """Standard error, for progress."""
        return self._err

    def result(self, document: Document, readable: RenderableType) -> None:
        """Print the one result of the command."""
        if self.as_json:
            print_document(document)
        else:
            self.show(readable)

    def show(self, readable: RenderableType) -> None:
        """Print for people; a line of text is left for the terminal to wrap."""
        self._out.print(readable, soft_wrap=isinstance(readable, str))

    def note(self, text: str) -> None:
        """Say what is going on, on standard error."""
        self._err.print(text, soft_wrap=True)


def print_document(document: Document) -> None:
    """Print one JSON document on one line of standard output."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> RenderableType:
    """Set rows under their columns; a cell that does not fit is folded, never cut."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made if made.row_count else Text("none")
