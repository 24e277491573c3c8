"""Rows in order, taken as far as the entries have come."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from ledger.findings import Code, Finding, LedgerBroken

Row: TypeAlias = tuple[Any, ...]


class Rows:
    """A stream in ascending order of each row's first column."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: Iterator[Row] = iter(rows)
        self._next: Row | None = next(self._rows, None)

    @property
    def next_number(self) -> int | None:
        """First column of the row that comes next; None after the last."""
        return None if self._next is None else self._next[0]

    def take(self) -> Row:
        row = self._next
        if row is None:
            raise StopIteration
        self._next = next(self._rows, None)
        return row

    def up_to(self, number: int) -> list[Row]:
        """Take all rows whose number is not above this one."""
        taken = []
        while self._next is not None and self._next[0] <= number:
            taken.append(self._next)
            self._next = next(self._rows, None)
        return taken


def broken(entry: int, code: Code, detail: str) -> LedgerBroken:
    return LedgerBroken(Finding(entry, code, detail))
