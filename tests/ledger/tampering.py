"""A good ledger, and what a superuser can do to a copy of it."""

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

import psycopg

from ledger.checkpoint import Checkpoint, LogKey
from ledger.entry import NO_ROW, entry_leaf, row_hash
from ledger.erasure import Eraser
from ledger.local_header import LocalHeader
from ledger.merkle import Frontier
from ledger.record import Kind, LedgerRecord, RecordedPart
from ledger.sequencer import Sequencer
from ledger.store import LedgerReader
from ledger.subject_keys import SubjectKeys
from ledger.verification import Trust, Verification, verify_ledger
from tests.databases import Databases
from tests.ledger.world import (
    ERASER,
    JUHAN,
    MARI,
    READER,
    FakeEvidenceVerifier,
    FakeHeads,
    LedgerWorld,
    once,
    request,
)
from tests.pki import Pki
from vocabulary.imprint import Imprint

ERASED = (45, 46, 60)
ERASURE = 125
UNOPENED = 55
PLAIN = 56
SIZE = 151
# Where each closed round ends; the last entries are in the open one.
ROUND_SIZES = (0, 40, 40, 85, 125, 126, 146)

_TABLES = (
    *("entry", "opening", "subject_index", "subject_index_withheld"),
    *("round", "time_stamp", "evidence", "head"),
)
_KEEP = "CREATE TABLE good.{0} AS SELECT * FROM ledger.{0}"
_EMPTY = "DELETE FROM ledger.{}"
_REFILL = "INSERT INTO ledger.{0} SELECT * FROM good.{0}"
_ATTACH = """
DO $$ BEGIN
    IF NOT (SELECT relispartition FROM pg_class
            WHERE oid = 'ledger.entry_000001'::regclass) THEN
        ALTER TABLE ledger.entry ATTACH PARTITION ledger.entry_000001
            FOR VALUES FROM (100) TO (200);
    END IF;
END $$
"""


@dataclass(slots=True)
class Ledger:
    """A ledger at rest: its database, and what is kept outside of it."""

    dsn: str
    reader_dsn: str
    directory: Path
    log_key: LogKey
    pki: Pki
    checkpoints: list[Checkpoint] = field(default_factory=list)

    @property
    def subject_keys(self) -> SubjectKeys:
        return SubjectKeys(self.directory / "subject-keys")

    def verify(self, **changed: Any) -> Verification:
        arguments: dict[str, Any] = {
            "trust": Trust(
                (self.log_key.verifier,),
                self.pki.time_stamping_authorities,
                FakeEvidenceVerifier(),
            ),
            "heads": FakeHeads(),
            "subject_keys": self.subject_keys,
        }
        return verify_ledger(self.reader_dsn, **arguments | changed)

    def tamper(self) -> "Attacker":
        return Attacker(self)


class Attacker:
    """A superuser who has switched every trigger off."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.connection = psycopg.connect(ledger.dsn, autocommit=True)
        self.connection.execute("SET synchronous_commit = off")
        self.connection.execute(
            "DO $$ DECLARE name regclass; BEGIN FOR name IN SELECT oid FROM pg_class"
            " WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p')"
            " LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', name);"
            " END LOOP; END $$"
        )

    def __call__(self, statement: str, *values: Any) -> None:
        changed = self.connection.execute(statement.encode(), values)
        assert changed.rowcount, "an attack that changes nothing"

    def close(self) -> None:
        self.connection.close()

    def keep(self) -> None:
        """Put a copy of every row aside."""
        self.connection.execute("CREATE SCHEMA good")
        for table in _TABLES:
            self.connection.execute(_KEEP.format(table).encode())

    def restore(self) -> None:
        """Put every row back."""
        self.connection.execute(_ATTACH)
        with self.connection.transaction():
            for table in _TABLES:
                self.connection.execute(_EMPTY.format(table).encode())
                self.connection.execute(_REFILL.format(table).encode())

    def columns(self, table: str) -> list[str]:
        rows = self.connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass"
            " AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (f"ledger.{table}",),
        )
        return [name for (name,) in rows]

    def relink(self, first: int, *, stop: int | None = None) -> None:
        """Make the row hashes of entries from `first` on agree with their content."""
        reader = LedgerReader(self.connection)
        entries = reader.entries(max(0, first - 1), stop or 1 << 40)
        prev = entries.pop(0).row_hash if first else NO_ROW
        for seq, entry in enumerate(entries, first):
            part = None
            if entry.part_type is not None and entry.head is not None:
                part = RecordedPart(entry.part_type, entry.head)
            made = row_hash(
                seq=seq,
                round_number=entry.round,
                local_header=entry.local_header,
                imprint=None if part is None else part.imprint,
                fields_root=entry.fields_root,
                prev=prev,
            )
            self(
                "UPDATE ledger.entry SET seq = %s, prev = %s, row_hash = %s"
                " WHERE seq = %s",
                *(seq, prev, made, entry.seq),
            )
            prev = made
        self("UPDATE ledger.head SET row_hash = %s", prev)

    def sign_again(self) -> None:
        """With a stolen log key: make every round agree with the entries there are."""
        tree, entries = Frontier(), self._entries()
        for number, old in self._rounds():
            for entry in entries[tree.size : old]:
                tree.append(entry_leaf(entry.row_hash))
            signed = self.ledger.log_key.sign(tree.size, tree.root)
            self(
                "UPDATE ledger.round SET size = %s, root = %s, note = %s"
                " WHERE round = %s",
                *(signed.size, signed.root, signed.note, number),
            )

    def _entries(self) -> list[Any]:
        return LedgerReader(self.connection).entries(0, 1 << 40)

    def _rounds(self) -> list[tuple[int, int]]:
        """Each round, and how many entries are in it or before."""
        return self.connection.execute(
            "SELECT round, (SELECT count(*) FROM ledger.entry"
            " WHERE entry.round <= round.round) FROM ledger.round ORDER BY round"
        ).fetchall()

    def change_head(self, seq: int, change: Callable[[dict[str, Any]], None]) -> None:
        """Let another head stand there, with everything else as it was."""
        ((head,),) = self.connection.execute(
            "SELECT head FROM ledger.entry WHERE seq = %s", (seq,)
        ).fetchall()
        told = json.loads(head)
        change(told)
        self(
            "UPDATE ledger.entry SET head = %s WHERE seq = %s",
            *(json.dumps(told).encode(), seq),
        )

    def change_header(self, seq: int, **changed: Any) -> None:
        ((octets,),) = self.connection.execute(
            "SELECT local_header FROM ledger.entry WHERE seq = %s", (seq,)
        ).fetchall()
        header = LocalHeader.decode(octets)
        for name, value in changed.items():
            object.__setattr__(header, name, value)
        self(
            "UPDATE ledger.entry SET local_header = %s WHERE seq = %s",
            *(header.encode(), seq),
        )


class GoodLedger:
    """Built once; each test that asks finds it as it was."""

    def __init__(self, postgres: Databases, directory: Path) -> None:
        self._postgres = postgres
        self._world = LedgerWorld.create(
            postgres, f"ledger_good_{token_hex(4)}", directory, partition_size=100
        )
        self._pki = Pki(self._world.clock)
        self._checkpoints: list[Checkpoint] = []
        asyncio.run(self._fill())
        self.ledger = Ledger(
            postgres.superuser_dsn(self._world.name),
            self._world.dsn(READER),
            directory,
            self._world.log_key,
            self._pki,
            self._checkpoints,
        )
        with closing(self.ledger.tamper()) as keeper:
            keeper.keep()

    def restore(self) -> Ledger:
        with closing(self.ledger.tamper()) as keeper:
            keeper.restore()
        return self.ledger

    async def _fill(self) -> None:
        sequencer = await self._world.started()
        await self._close(sequencer)
        await self._append(sequencer, (_varied(n) for n in range(40)))
        await self._close(sequencer)
        await self._close(sequencer)
        await self._append(sequencer, (_varied(n) for n in range(40, 85)))
        await self._close(sequencer)
        self._world.clock.now += timedelta(days=10)
        await self._append(sequencer, (request(n) for n in range(85, 125)))
        await self._close(sequencer)
        eraser = Eraser(sequencer, self._world.dsn(ERASER), self._world.subject_keys)
        await eraser.erase(ERASED, reason="kept for long enough")
        await self._close(sequencer)
        await self._append(sequencer, (request(n) for n in range(126, 146)))
        await self._close(sequencer, stamped=False)
        await self._append(sequencer, (request(n) for n in range(146, 151)))
        await sequencer.stop()

    async def _append(
        self, sequencer: Sequencer, records: Iterable[LedgerRecord]
    ) -> None:
        for record in records:
            await sequencer.append(record)

    async def _close(self, sequencer: Sequencer, *, stamped: bool = True) -> None:
        closed = await sequencer.close_round()
        self._checkpoints.append(closed)
        if stamped:
            token = self._pki.token(Imprint.of(closed.note))
            await sequencer.add_time_stamp(closed.round, token)


def _varied(number: int) -> LedgerRecord:
    if number == UNOPENED:
        return request(number, unopened=(0,))
    if number == PLAIN:
        return LedgerRecord(Kind.CONFIGURATION_CHANGED)
    subjects = ((MARI,), (JUHAN,), (MARI, JUHAN), ())[number % 4]
    return request(
        number, subjects=subjects, once=once(number), peer_row_hash=b"\x05" * 32
    )
