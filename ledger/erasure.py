"""Erasing what entries hold, so that everything that remains still verifies.

Recorded first, deleted after: an opening that is gone without an ERASURE entry before
is an offence, so one that a crash left is deleted at the next start, or before the next
erasure. Deleting is done as the eraser, the one role that can.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import psycopg

from ledger.erased import Erased, erasure_fields
from ledger.fields import Tag
from ledger.record import Appended, Kind, LedgerRecord
from ledger.subject_keys import SubjectKeys, month_of, subject_tag
from ledger.tail import Connection
from ledger.writer import Connect, writer_connection
from vocabulary.faults import EntryUnknown, LedgerUnavailable

T = TypeVar("T")


class Appends(Protocol):
    async def append(self, record: LedgerRecord) -> Appended: ...


class Eraser:
    """Erases by entry, in the content grade: what was said goes, that it was stays."""

    def __init__(
        self,
        ledger: Appends,
        dsn: str,
        subject_keys: SubjectKeys,
        *,
        connect: Connect | None = None,
    ) -> None:
        self._ledger = ledger
        self._connect = connect or partial(writer_connection, dsn)
        self._subject_keys = subject_keys
        self._one_at_a_time = asyncio.Lock()
        self._completed = False

    async def erase(self, entries: Iterable[int], *, reason: str) -> Appended:
        """Erase the openings of `entries`; give the ERASURE entry that says so.

        Raise EntryUnknown, with nothing erased, unless each of them holds something
        that can be erased; LedgerUnavailable if it cannot be recorded, or was recorded
        and not yet carried out.
        """
        named = sorted(set(entries))
        if not named or named[0] < 0:
            raise EntryUnknown("name the entries to erase by their numbers")
        async with self._one_at_a_time:
            await self._complete()
            kept = await self._ask(partial(self._index_rows, named))
            fields = erasure_fields(named, kept, reason)
            appended = await self._ledger.append(
                LedgerRecord(Kind.ERASURE, None, fields)
            )
            self._completed = False
            await self._ask(partial(_delete, named))
            self._completed = True
            return appended

    async def complete(self) -> None:
        """Carry out what was recorded and then interrupted; LedgerUnavailable."""
        async with self._one_at_a_time:
            await self._complete()

    async def _complete(self) -> None:
        if not self._completed:
            await self._ask(_delete_recorded)
            self._completed = True

    async def _ask(self, call: Callable[[Connection], T]) -> T:
        try:
            return await asyncio.to_thread(self._in_transaction, call)
        except (psycopg.Error, OSError) as error:
            raise LedgerUnavailable(
                "the ledger's database cannot be used by its eraser; what was recorded"
                " as erased is erased once it can: erase again, or restart the server"
            ) from error

    def _in_transaction(self, call: Callable[[Connection], T]) -> T:
        connection = self._connect()
        try:
            result = call(connection)
            connection.commit()
        finally:
            connection.close()
        return result

    def _index_rows(
        self, entries: list[int], connection: Connection
    ) -> list[tuple[int, bytes]]:
        """Give the rows of the subject index that stay; EntryUnknown."""
        times = _times_of_erasable(connection, entries)
        subjects = connection.execute(
            "SELECT seq, value FROM ledger.opening WHERE seq = ANY(%s) AND tag = %s",
            (entries, int(Tag.SUBJECT)),
        )
        rows = []
        for seq, value in subjects:
            # Without its month's key a row says nothing, and nobody can rebuild it.
            with suppress(KeyError):
                key = self._subject_keys.key(month_of(times[seq]))
                rows.append((seq, subject_tag(key, bytes(value))))
        return rows


def _times_of_erasable(connection: Connection, entries: list[int]) -> dict[int, Any]:
    found = connection.execute(
        "SELECT seq, kind, recorded_at FROM ledger.entry WHERE seq = ANY(%s)",
        (entries,),
    ).fetchall()
    kinds = {seq: kind for seq, kind, _ in found}
    rows = connection.execute(
        "SELECT DISTINCT seq FROM ledger.opening WHERE seq = ANY(%s)", (entries,)
    )
    opened = {seq for (seq,) in rows}
    for entry in entries:
        if entry not in kinds:
            raise EntryUnknown(f"there is no entry {entry}; see `ristmik ledger tail`")
        if kinds[entry] == Kind.ERASURE:
            raise EntryUnknown(
                f"entry {entry} is itself an erasure, which says what may be missing"
            )
        if entry not in opened:
            raise EntryUnknown(f"entry {entry} holds nothing, or no longer")
    return {seq: recorded_at for seq, _, recorded_at in found}


def _delete(entries: list[int], connection: Connection) -> None:
    connection.execute("DELETE FROM ledger.opening WHERE seq = ANY(%s)", (entries,))


def _delete_recorded(connection: Connection) -> None:
    recorded = connection.execute(
        "SELECT opening.seq, tag, value FROM ledger.opening"
        " JOIN ledger.entry ON entry.seq = opening.seq"
        " WHERE tag IN (10, 12) AND entry.kind = %s",
        (int(Kind.ERASURE),),
    )
    erased = Erased()
    for seq, tag, value in recorded.fetchall():
        erased.add(seq, tag, bytes(value))
    if erased.entries:
        _delete(list(erased.entries), connection)
