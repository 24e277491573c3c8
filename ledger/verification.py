"""Verifying a whole ledger: everything that can be recomputed, from content alone.

Nothing stored is believed: row hashes, links, commitments, query columns, openings, the
subject index, the tree and its rounds are made again and compared; signatures and
tokens are verified against keys that the caller brings. Only what is kept outside the
database can show that a ledger was rewritten as a whole by whoever holds its log key,
or that its end is gone: bring an earlier checkpoint.

The result names the lowest entry found bad, and what caught it: docs/ledger-format.md.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

import psycopg

from ledger.audit.evidence import EvidenceAudit
from ledger.audit.index_rows import IndexAudit
from ledger.audit.openings import OpeningAudit
from ledger.audit.rounds import RoundAudit
from ledger.checkpoint import Checkpoint, VerifierKey
from ledger.examination import Place, examine
from ledger.findings import Code, Finding, LedgerBroken, Mechanism
from ledger.heads import EvidenceVerifier, HeadReader
from ledger.record import HeadSummary
from ledger.snapshot import Snapshot
from ledger.store import ENTRY_COLUMNS, ENTRY_TYPES, entry_of
from ledger.subject_keys import SubjectKeys
from trust.certificates import Certificate
from vocabulary.faults import LedgerUnavailable

__all__ = [
    "Code",
    "Doubt",
    "EvidenceVerifier",
    "Finding",
    "HeadReader",
    "HeadSummary",
    "Mechanism",
    "Outcome",
    "Progress",
    "Trust",
    "Verification",
    "verify_ledger",
]

# Told how many entries are done, and of how many.
Progress: TypeAlias = Callable[[int, int], None]

_PROGRESS_EVERY: Final = 1_000
_ENTRIES: Final = f"SELECT {', '.join(ENTRY_COLUMNS)} FROM ledger.entry ORDER BY seq"  # noqa: S608


class Outcome(StrEnum):
    OK = "OK"
    INCONCLUSIVE = "INCONCLUSIVE"
    FAILED = "FAILED"


class Doubt(StrEnum):
    """What could not be verified with what the caller brought."""

    SIGNATURES_NOT_VERIFIED = "SIGNATURES_NOT_VERIFIED"
    TIME_STAMPS_NOT_VERIFIED = "TIME_STAMPS_NOT_VERIFIED"
    SUBJECT_KEY_MISSING = "SUBJECT_KEY_MISSING"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe: brought by the caller, never read from the ledger's database.

    `log_keys` are all that this log has ever signed with. Without `evidence`,
    signatures are not verified; without authorities, time-stamps are not.
    """

    log_keys: Sequence[VerifierKey]
    time_stamping_authorities: Sequence[Certificate]
    evidence: EvidenceVerifier | None


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of it; `entries` and `rounds` are how many there are."""

    entries: int
    rounds: int
    first_bad: Finding | None
    doubts: tuple[Doubt, ...] = ()
    # Entries covered by the newest checkpoint that has a valid token.
    time_stamped: int = 0
    erased: int = 0
    # Recorded as erased, with openings that are still there.
    not_yet_erased: int = 0
    newest_checkpoint: Checkpoint | None = None

    @property
    def outcome(self) -> Outcome:
        if self.first_bad is not None:
            return Outcome.FAILED
        return Outcome.INCONCLUSIVE if self.doubts else Outcome.OK

    @property
    def ok(self) -> bool:
        return self.outcome == Outcome.OK


def verify_ledger(
    dsn: str,
    *,
    trust: Trust,
    heads: HeadReader,
    subject_keys: SubjectKeys,
    held: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Verify all of it; `held` is an earlier checkpoint kept elsewhere.

    Raise LedgerUnavailable if the database cannot be read, ValueError for a held
    checkpoint that is of another log.
    """
    if held is not None and held.origin not in {key.name for key in trust.log_keys}:
        raise ValueError(f"a checkpoint of {held.origin!r}, which is another log")
    try:
        with Snapshot(dsn) as snapshot:
            audit = _Audit(snapshot, trust, heads, subject_keys, held)
            return audit.run(progress)
    except psycopg.Error as error:
        raise LedgerUnavailable(
            f"the ledger's database cannot be read: {str(error).strip()}"
        ) from error


class _Audit:
    """One verification, and how far it has come."""

    def __init__(
        self,
        snapshot: Snapshot,
        trust: Trust,
        heads: HeadReader,
        subject_keys: SubjectKeys,
        held: Checkpoint | None,
    ) -> None:
        self._snapshot = snapshot
        self._trust = trust
        self._heads = heads
        self._subject_keys = subject_keys
        self._held = held
        self._place = Place()

    def run(self, progress: Progress | None) -> Verification:
        ((entries, rounds),) = self._snapshot.fetch(
            "SELECT (SELECT count(*) FROM ledger.entry),"
            " (SELECT count(*) FROM ledger.round)"
        )
        try:
            return self._verify(entries, rounds, progress)
        except LedgerBroken as error:
            return Verification(entries, rounds, error.finding)
        except psycopg.DataError as error:
            finding = Finding(self._place.seq, Code.ROW_UNREADABLE, str(error))
            return Verification(entries, rounds, finding)

    def _verify(
        self, entries: int, rounds: int, progress: Progress | None
    ) -> Verification:
        snapshot, trust = self._snapshot, self._trust
        openings = OpeningAudit(snapshot)
        index = IndexAudit(snapshot, self._subject_keys, openings.erased)
        evidence = EvidenceAudit(snapshot, trust.evidence)
        tree = RoundAudit(
            snapshot,
            log_keys=trust.log_keys,
            authorities=trust.time_stamping_authorities,
            held=self._held,
        )
        for row in snapshot.stream(_ENTRIES, ENTRY_TYPES):
            examined = examine(entry_of(row), self._place, self._heads)
            tree.add(examined.entry)
            index.check(examined, openings.check(examined))
            evidence.check(examined)
            self._place = examined.next_place
            if progress is not None and self._place.seq % _PROGRESS_EVERY == 0:
                progress(self._place.seq, entries)
        head_rows = self._head_rows()
        tree.finish()
        for beside in (openings, index, evidence):
            beside.finish(self._place.seq)
        self._check_head_row(head_rows, tree)
        if progress is not None:
            progress(self._place.seq, entries)
        return Verification(
            entries,
            rounds,
            None,
            tuple(self._doubts(index)),
            tree.time_stamped,
            openings.erased_entries,
            openings.not_yet_erased,
            tree.newest,
        )

    def _head_rows(self) -> list[tuple[Any, ...]]:
        """Read what should be one; it may know of entries that are not there."""
        rows = self._snapshot.fetch(
            "SELECT seq, round, row_hash, ledger_time FROM ledger.head"
        )
        size = self._place.seq
        if any(row[0] > size for row in rows):
            detail = f"the head row counts more than the {size} there are"
            raise LedgerBroken(Finding(size, Code.ENTRY_MISSING, detail))
        return rows

    def _check_head_row(self, rows: list[tuple[Any, ...]], tree: RoundAudit) -> None:
        size, last = self._place.seq, self._place.prev
        if rows != [(size, tree.open_round, last, tree.ledger_time)]:
            detail = f"it does not name {size} entries, their last and the open round"
            raise LedgerBroken(Finding(size, Code.HEAD_ROW_MISMATCH, detail))

    def _doubts(self, index: IndexAudit) -> Iterator[Doubt]:
        if self._trust.evidence is None:
            yield Doubt.SIGNATURES_NOT_VERIFIED
        if not self._trust.time_stamping_authorities:
            yield Doubt.TIME_STAMPS_NOT_VERIFIED
        if index.months_without_key:
            yield Doubt.SUBJECT_KEY_MISSING
