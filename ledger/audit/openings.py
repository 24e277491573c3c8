"""Openings against what the entries commit to."""

from typing import Final

from ledger.audit.rows import Rows, broken
from ledger.erased import Erased
from ledger.examination import ExaminedEntry
from ledger.fields import Field, Tag
from ledger.findings import Code
from ledger.local_header import LocalHeader
from ledger.merkle import HASH_OCTETS
from ledger.record import Kind
from ledger.snapshot import Snapshot
from ledger.store import OPENING_COLUMNS, OPENING_TYPES

_QUERY: Final = (
    f"SELECT {', '.join(OPENING_COLUMNS)} FROM ledger.opening"  # noqa: S608 - ours
    " ORDER BY seq, position"
)
_ERASURES: Final = (
    "SELECT entry.seq, local_header, commitments, position, tag, salt, value"
    " FROM ledger.opening JOIN ledger.entry ON entry.seq = opening.seq"
    " WHERE tag IN (10, 12) ORDER BY entry.seq, position"
)


class OpeningAudit:
    def __init__(self, snapshot: Snapshot) -> None:
        self._rows = Rows(snapshot.stream(_QUERY, OPENING_TYPES))
        self._malformed: dict[int, str] = {}
        self.erased = self._read_erased(snapshot)
        self.erased_entries = self.not_yet_erased = 0

    def check(self, examined: ExaminedEntry) -> list[bytes]:
        """Raise LedgerBroken unless they are all there; give the subjects they name."""
        entry, commitments = examined.entry, examined.commitments
        seq, unopened = entry.seq, examined.header.unopened
        if seq in self._malformed:
            raise broken(seq, Code.ERASURE_MALFORMED, self._malformed[seq])
        missing = set(range(len(commitments))).difference(unopened)
        subjects = []
        for number, position, tag, salt, value in self._rows.up_to(seq):
            if number != seq or position not in missing:
                detail = f"an opening at position {position}, where none may be"
                raise broken(number, Code.OPENING_SURPLUS, detail)
            missing.remove(position)
            if not _opens(tag, salt, value, commitments[position]):
                detail = f"the one at position {position} is not what was committed to"
                raise broken(seq, Code.OPENING_ALTERED, detail)
            if tag == Tag.SUBJECT:
                subjects.append(value)
        self._account_for(seq, missing, opened=len(commitments) - len(unopened))
        return subjects

    def finish(self, size: int) -> None:
        if (number := self._rows.next_number) is not None:
            detail = f"an opening of entry {number}, of which there is none"
            raise broken(min(number, size), Code.OPENING_SURPLUS, detail)

    def _account_for(self, seq: int, missing: set[int], *, opened: int) -> None:
        if seq in self.erased.entries:
            self.erased_entries += 1
            self.not_yet_erased += len(missing) < opened
        elif missing:
            places = ", ".join(map(str, sorted(missing)))
            detail = f"none at position {places}, and no erasure says so"
            raise broken(seq, Code.OPENING_MISSING, detail)

    def _read_erased(self, snapshot: Snapshot) -> Erased:
        """Take what erasures say, from openings that are what they committed to."""
        erased = Erased()
        for row in snapshot.fetch(_ERASURES):
            seq, header, commitments, position, tag, salt, value = row
            start = position * HASH_OCTETS
            commitment = commitments[start : start + HASH_OCTETS]
            if not (_is_erasure(header) and _opens(tag, salt, value, commitment)):
                continue
            try:
                erased.add(seq, tag, value)
            except ValueError as error:
                self._malformed.setdefault(seq, str(error))
        return erased


def _is_erasure(local_header: bytes) -> bool:
    try:
        return LocalHeader.decode(local_header).kind == Kind.ERASURE
    except ValueError:
        return False


def _opens(tag: int, salt: bytes, value: bytes, commitment: bytes) -> bool:
    try:
        return Field(tag, salt, value).commitment == commitment
    except (ValueError, OverflowError):
        return False
