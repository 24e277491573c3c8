"""The one writer of a ledger: each batch is one transaction, fenced by its epoch.

Synchronous, and used from one thread. After any error of the database it knows nothing
any more, and must recover before anything else.
"""

import os
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn
from uuid import uuid4

import psycopg

from ledger.checkpoint import LogKey, RoundCheckpoint, VerifierKey, verify_checkpoint
from ledger.commit import advance, append
from ledger.draft import Drafts
from ledger.entry import entry_leaf
from ledger.heads import HeadReader
from ledger.local_header import microseconds, moment_of
from ledger.merkle import Frontier
from ledger.record import Appended, LedgerRecord
from ledger.subject_keys import SubjectKeys
from ledger.tail import Connection, Superseded, Tail, take_over
from vocabulary.clock import Clock
from vocabulary.imprint import Imprint

Connect = Callable[[], Connection]

# A writer that is stopped within a transaction holds the head row; so long, then the
# next one gets it.
_SESSION = """
SET synchronous_commit = on;
SET idle_in_transaction_session_timeout = '5s';
SET timezone = 'UTC';
"""


def writer_connection(dsn: str) -> Connection:
    """Connect so that a server gone without a word is noticed in seconds."""
    return psycopg.connect(
        dsn,
        connect_timeout=5,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        application_name="ristmik ledger",
    )


class Writer:
    def __init__(
        self,
        connect: Connect,
        *,
        log_key: LogKey,
        earlier_log_keys: Sequence[VerifierKey],
        heads: HeadReader,
        subject_keys: SubjectKeys,
        clock: Clock,
    ) -> None:
        self._connect = connect
        self._log_key = log_key
        self._log_keys = (log_key.verifier, *earlier_log_keys)
        self._heads = heads
        self._subject_keys = subject_keys
        self._clock = clock
        self._id = uuid4()
        self._live: Connection | None = None
        self._tail: Tail | None = None
        self._known = Frontier()
        self._partition_from = self._partitioned_until = 0
        # Imprints of what is surely in the table; the event loop asks it too.
        self.evidence_held: set[Imprint] = set()
        self.checkpoint: RoundCheckpoint | None = None

    def open(self, *, if_still_ours: bool) -> None:
        """Take the ledger over, or go on with it: see ledger.tail."""
        self.close()
        try:
            self._open(if_still_ours=if_still_ours)
        except BaseException:
            self.close()
            raise

    def _open(self, *, if_still_ours: bool) -> None:
        connection = self._live = self._connect()
        connection.execute(_SESSION)
        connection.commit()
        tail = take_over(
            connection,
            self._id,
            if_still_ours=if_still_ours,
            known=self._known,
            heads=self._heads,
            log_keys=self._log_keys,
        )
        self._partition(tail.place.seq)
        self._tail, self._known = tail, tail.frontier
        self.checkpoint = tail.checkpoint

    def close(self) -> None:
        """Let go of the connection; what was not committed is not."""
        self._tail = None
        if self._live is not None:
            self._live.close()
            self._live = None

    def abandon(self) -> None:
        """Cut the connection, from another thread: what waits for an answer fails."""
        connection = self._live
        if connection is None or connection.closed:
            return
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(connection.fileno())) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)

    @property
    def size(self) -> int:
        return self._known.size

    def append(
        self, groups: Sequence[Sequence[LedgerRecord]]
    ) -> list[list[Appended] | Exception]:
        """Give for each group where it stands, durably, or why it alone was refused."""
        tail, connection = self._require_open()
        now = max(microseconds(self._clock()), tail.place.recorded_at)
        drafts = Drafts(
            replace(tail.place, recorded_at=now),
            tail.round,
            tail.recent,
            self,
            self._heads,
            self._subject_keys,
        )
        outcomes: list[list[Appended] | Exception] = []
        for group in groups:
            try:
                outcomes.append(drafts.add(group))
            except (psycopg.Error, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - it must not stop the others
                outcomes.append(error)
        # Only reading, so far.
        connection.rollback()
        if drafts.drafts:
            self._commit(drafts)
        return outcomes

    def _commit(self, drafts: Drafts) -> None:
        tail, connection = self._require_open()
        if drafts.place.seq > self._partitioned_until:
            self._partition(drafts.place.seq)
        if not append(connection, tail, drafts.place, drafts.drafts):
            self._find_out_who_moved_it()
        tail.place = drafts.place
        for draft in drafts.drafts:
            tail.frontier.append(entry_leaf(draft.entry.row_hash))
            tail.recent.add(draft.entry.seq, draft.header)
        tail.recent.forget(size=tail.place.seq, ledger_time=tail.place.recorded_at)

    def close_round(self) -> RoundCheckpoint:
        """Sign what there is, and open the next round."""
        tail, connection = self._require_open()
        if tail.place.seq >= self._partition_from:
            self._partition(tail.place.seq)
        now = max(microseconds(self._clock()), tail.place.recorded_at)
        signed = self._log_key.sign(tail.frontier.size, tail.frontier.root)
        closed = RoundCheckpoint(
            signed.origin, signed.size, signed.root, signed.note, tail.round
        )
        place = replace(tail.place, recorded_at=now)
        if not advance(connection, tail, place, round_number=tail.round + 1):
            self._find_out_who_moved_it()
        connection.execute(
            "INSERT INTO ledger.round (round, size, root, note, closed_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            (tail.round, signed.size, signed.root, signed.note, moment_of(now)),
        )
        connection.commit()
        tail.place, tail.round = place, tail.round + 1
        tail.checkpoint = self.checkpoint = closed
        return closed

    def put_evidence(self, ders: Iterable[bytes]) -> None:
        """Keep certificates and OCSP responses, each under its own imprint."""
        _, connection = self._require_open()
        rows = {Imprint.of(der): der for der in ders}
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO ledger.evidence (imprint, der) VALUES (%s, %s)"
                " ON CONFLICT DO NOTHING",
                [(imprint.octets, der) for imprint, der in rows.items()],
            )
        connection.commit()
        self.evidence_held |= rows.keys()

    def evidence(self, imprint: Imprint) -> bytes | None:
        row = self._read(
            "SELECT der FROM ledger.evidence WHERE imprint = %s", imprint.octets
        )
        return None if row is None else bytes(row[0])

    def has_evidence(self, imprint: Imprint) -> bool:
        if imprint not in self.evidence_held and self.evidence(imprint) is not None:
            self.evidence_held.add(imprint)
        return imprint in self.evidence_held

    def appended(self, seq: int) -> Appended:
        row = self._read("SELECT round, row_hash FROM ledger.entry WHERE seq = %s", seq)
        if row is None:
            raise psycopg.DataError(f"entry {seq} is gone from the database")
        return Appended(seq, row[0], bytes(row[1]))

    def add_time_stamp(self, round_number: int, token: bytes) -> None:
        """Keep a token for the checkpoint of a round; the same one again is no harm."""
        _, connection = self._require_open()
        try:
            connection.execute(
                "INSERT INTO ledger.time_stamp (round, imprint, token)"
                " VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (round_number, Imprint.of(token).octets, token),
            )
        except psycopg.errors.ForeignKeyViolation as error:
            connection.rollback()
            raise ValueError(f"round {round_number} is not closed") from error
        connection.commit()

    def unstamped_rounds(self, limit: int) -> list[RoundCheckpoint]:
        """Give the newest rounds that have no token, newest first."""
        _, connection = self._require_open()
        rows = connection.execute(
            "SELECT note, round FROM ledger.round WHERE NOT EXISTS (SELECT FROM"
            " ledger.time_stamp WHERE time_stamp.round = round.round)"
            " ORDER BY round DESC LIMIT %s",
            (limit,),
        ).fetchall()
        connection.rollback()
        return [self._checkpoint(bytes(note), number) for note, number in rows]

    def _checkpoint(self, note: bytes, number: int) -> RoundCheckpoint:
        told = verify_checkpoint(note, self._log_keys)
        return RoundCheckpoint(told.origin, told.size, told.root, note, number)

    def _find_out_who_moved_it(self) -> NoReturn:
        _, connection = self._require_open()
        row = connection.execute("SELECT writer FROM ledger.head").fetchone()
        if row is not None and row[0] != self._id:
            raise Superseded
        # Recovery finds out what somebody has made of the ledger.
        raise psycopg.OperationalError("the head row is not where it was left")

    def _read(self, query: str, key: object) -> tuple[Any, ...] | None:
        """Read one row, outside of any transaction that changes something."""
        _, connection = self._require_open()
        row = connection.execute(query, (key,)).fetchone()
        connection.rollback()
        return row

    def _partition(self, seq: int) -> None:
        connection = self._live
        if connection is None:
            raise psycopg.OperationalError("no connection")
        row = connection.execute(
            "SELECT again_from, ready_until FROM ledger.create_partitions(%s)", (seq,)
        ).fetchone()
        connection.commit()
        if row is not None:
            self._partition_from, self._partitioned_until = row

    def _require_open(self) -> tuple[Tail, Connection]:
        if self._tail is None or self._live is None:
            raise psycopg.OperationalError("the ledger is not open")
        return self._tail, self._live
