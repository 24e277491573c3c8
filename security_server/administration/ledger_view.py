"""What an administrator is told about the ledger: how much there is of it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from vocabulary.faults import LedgerUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LedgerSize:
    entries: int
    rounds: int


class LedgerView:
    """Reads as the server's own role; each look is a connection of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def size(self) -> LedgerSize:
        """Raise LedgerUnavailable."""
        return await self._look(_size)

    async def openings(self, entries: Sequence[int]) -> int:
        """Count what `entries` hold that can be erased; LedgerUnavailable."""
        return await self._look(lambda connection: _openings(connection, entries))

    async def _look(self, look: Callable[["psycopg.Connection[Any]"], T]) -> T:
        def connect_and_look() -> T:
            with psycopg.connect(self._dsn, connect_timeout=5) as connection:
                return look(connection)

        try:
            return await asyncio.to_thread(connect_and_look)
        except (psycopg.Error, OSError) as error:
            raise LedgerUnavailable(
                "the ledger's database does not answer: start it and ask again"
            ) from error


def _size(connection: "psycopg.Connection[Any]") -> LedgerSize:
    # The head names the round that is open; those before it are closed.
    row = connection.execute("SELECT seq, round FROM ledger.head").fetchone()
    return LedgerSize(*row) if row else LedgerSize(0, 0)


def _openings(connection: "psycopg.Connection[Any]", entries: Sequence[int]) -> int:
    row = connection.execute(
        "SELECT count(*) FROM ledger.opening WHERE seq = ANY(%s)", (list(entries),)
    ).fetchone()
    return int(row[0]) if row else 0
