"""Believing one entry: everything about it that can be recomputed, is.

An entry is as it was recorded when each of these holds, judged in this order:

1. its number is the one after the entry before it;
2. its row hash is that of its own content;
3. it is linked to the row hash of the entry before it;
4. its local header is in its one encoding, and its time is not before that entry's;
5. its commitments give its fields_root, and its head commits to the same;
6. its query columns are those derived from its two headers.
"""

from dataclasses import dataclass

from ledger.entry import NO_ROW, LinkedEntry, query_columns, row_hash
from ledger.fields import commitments_root
from ledger.findings import Code, Finding, LedgerBroken
from ledger.heads import HeadReader
from ledger.local_header import LocalHeader
from ledger.merkle import HASH_OCTETS
from ledger.record import RecordedPart


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next entry must stand: its number, and what it is linked to."""

    seq: int = 0
    prev: bytes = NO_ROW
    recorded_at: int = 0


@dataclass(frozen=True, slots=True)
class ExaminedEntry:
    """An entry that is as it was recorded, with what its octets say."""

    entry: LinkedEntry
    header: LocalHeader
    part: RecordedPart | None
    commitments: tuple[bytes, ...]

    @property
    def next_place(self) -> Place:
        entry = self.entry
        return Place(entry.seq + 1, entry.row_hash, self.header.recorded_at)


def examine(entry: LinkedEntry, place: Place, heads: HeadReader) -> ExaminedEntry:
    """Raise LedgerBroken, naming the entry, unless it is as it was recorded."""
    if entry.seq != place.seq:  # 1
        detail = f"the next entry there is has number {entry.seq}"
        raise _broken(place.seq, Code.ENTRY_MISSING, detail)
    part = _part(entry)
    _check_row(entry, part, place)  # 2, 3
    header = _local_header(entry, place)  # 4
    commitments = _commitments(entry)  # 5
    summary = None
    if part is not None:
        try:
            summary = heads.read(part)
        except ValueError as error:
            raise _broken(entry.seq, Code.HEAD_UNREADABLE, str(error)) from error
        if summary.fields_root != entry.fields_root:
            detail = "its head commits to other fields"
            raise _broken(entry.seq, Code.HEAD_FIELDS_MISMATCH, detail)
    try:
        columns = query_columns(header, summary)  # 6
    except ValueError as error:
        raise _broken(entry.seq, Code.HEAD_UNREADABLE, str(error)) from error
    if columns != entry.columns:
        named = zip(columns._fields, columns, entry.columns, strict=True)
        other = ", ".join(name for name, told, kept in named if told != kept)
        raise _broken(entry.seq, Code.COLUMN_MISMATCH, f"not what is in {other}")
    return ExaminedEntry(entry, header, part, commitments)


def _part(entry: LinkedEntry) -> RecordedPart | None:
    match entry.part_type, entry.head:
        case None, None:
            return None
        case str(type_), bytes(head):
            return RecordedPart(type_, head)
        case _:
            detail = "a head without its part's type, or the type without a head"
            raise _broken(entry.seq, Code.ROW_HASH_MISMATCH, detail)


def _check_row(entry: LinkedEntry, part: RecordedPart | None, place: Place) -> None:
    hashed = (entry.local_header, entry.fields_root, entry.prev, entry.commitments)
    if not all(isinstance(octets, bytes) for octets in hashed):
        raise _broken(entry.seq, Code.ROW_UNREADABLE, "a column without a value")
    try:
        recomputed = row_hash(
            seq=entry.seq,
            round_number=entry.round,
            local_header=entry.local_header,
            imprint=None if part is None else part.imprint,
            fields_root=entry.fields_root,
            prev=entry.prev,
        )
    except OverflowError:
        recomputed = b""
    if recomputed != entry.row_hash:
        detail = "its content has another row hash than it bears"
        raise _broken(entry.seq, Code.ROW_HASH_MISMATCH, detail)
    if entry.prev != place.prev:
        detail = "not linked to the row hash of the entry before it"
        raise _broken(entry.seq, Code.LINK_BROKEN, detail)


def _local_header(entry: LinkedEntry, place: Place) -> LocalHeader:
    try:
        header = LocalHeader.decode(entry.local_header)
    except ValueError as error:
        raise _broken(entry.seq, Code.LOCAL_HEADER_MALFORMED, str(error)) from error
    if header.recorded_at < place.recorded_at:
        detail = "recorded before the entry before it"
        raise _broken(entry.seq, Code.TIME_GOES_BACK, detail)
    return header


def _commitments(entry: LinkedEntry) -> tuple[bytes, ...]:
    stored = entry.commitments
    starts = range(0, len(stored), HASH_OCTETS)
    commitments = tuple(stored[at : at + HASH_OCTETS] for at in starts)
    if len(stored) % HASH_OCTETS or commitments_root(commitments) != entry.fields_root:
        detail = "its commitments do not make up its fields_root"
        raise _broken(entry.seq, Code.COMMITMENTS_MISMATCH, detail)
    return commitments


def _broken(seq: int, code: Code, detail: str) -> LedgerBroken:
    return LedgerBroken(Finding(seq, code, detail))
