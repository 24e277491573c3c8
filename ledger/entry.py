"""One entry: a record, linked to the entry before it.

    row_hash = H(0x03 ‖ u64 seq ‖ u64 round ‖ H(local header) ‖ part imprint, if any
                 ‖ fields_root ‖ prev)

Columns that exist for querying are derived here, by the one function that the sequencer
stores from and verification compares with.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ledger.local_header import LocalHeader, moment_of
from ledger.merkle import LEAF
from ledger.record import HeadSummary, RecordedPart
from vocabulary.imprint import Imprint

ROW = b"\x03"
# What the first entry is linked to.
NO_ROW = bytes(32)
_INTEGER, _BIGINT = 1 << 31, 1 << 63
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def row_hash(
    *,
    seq: int,
    round_number: int,
    local_header: bytes,
    imprint: Imprint | None,
    fields_root: bytes,
    prev: bytes,
) -> bytes:
    header = hashlib.sha256(local_header).digest()
    part = b"" if imprint is None else imprint.octets
    numbers = seq.to_bytes(8, "big") + round_number.to_bytes(8, "big")
    return hashlib.sha256(ROW + numbers + header + part + fields_root + prev).digest()


def entry_leaf(row: bytes) -> bytes:
    """Leaf of the ledger's tree."""
    return hashlib.sha256(LEAF + row).digest()


class QueryColumns(NamedTuple):
    """Columns of `entry` that repeat what its two headers say; None where nothing."""

    kind: int
    recorded_at: datetime
    fault_code: int | None
    execution: int | None
    message_id: UUID | None
    direction: int | None
    part: int | None
    client: str | None
    service: str | None
    method: str | None
    purpose: str | None
    legal_basis: str | None
    status: int | None


def query_columns(header: LocalHeader, head: HeadSummary | None) -> QueryColumns:
    """Derive them; ValueError for what a column cannot hold."""
    own = (
        int(header.kind),
        moment_of(header.recorded_at),
        header.fault_code or None,
        header.execution or None,
    )
    if head is None:
        return QueryColumns(*own, *(None,) * 9)
    return QueryColumns(
        *own,
        # A refused request may carry any text for an id.
        UUID(head.message_id) if _UUID.fullmatch(head.message_id) else None,
        _number(head.direction, _INTEGER),
        _number(head.part, _BIGINT),
        _text(head.client),
        _text(head.service),
        _text(head.method),
        _text(head.purpose),
        _text(head.legal_basis),
        _number(head.status, _BIGINT),
    )


@dataclass(frozen=True, slots=True)
class LinkedEntry:
    """An entry as it is stored, apart from its openings and index rows."""

    seq: int
    round: int
    local_header: bytes
    part_type: str | None
    head: bytes | None
    commitments: bytes
    fields_root: bytes
    prev: bytes
    row_hash: bytes
    columns: QueryColumns

    @property
    def row(self) -> tuple[object, ...]:
        """Its columns in the order of the table."""
        return (
            self.seq,
            self.round,
            self.local_header,
            self.part_type,
            self.head,
            self.commitments,
            self.fields_root,
            self.prev,
            self.row_hash,
            *self.columns,
        )


def link(
    part: RecordedPart | None,
    *,
    seq: int,
    round_number: int,
    local_header: bytes,
    commitments: bytes,
    fields_root: bytes,
    prev: bytes,
    columns: QueryColumns,
) -> LinkedEntry:
    """Make the entry that comes after the one whose row hash is `prev`."""
    imprint = None if part is None else part.imprint
    return LinkedEntry(
        seq,
        round_number,
        local_header,
        None if part is None else _text(part.type),
        None if part is None else part.head,
        commitments,
        fields_root,
        prev,
        row_hash(
            seq=seq,
            round_number=round_number,
            local_header=local_header,
            imprint=imprint,
            fields_root=fields_root,
            prev=prev,
        ),
        columns,
    )


def _text(value: str) -> str | None:
    if "\x00" in value:
        raise ValueError("a head whose text holds NUL, which no column can")
    return value or None


def _number(value: int, limit: int) -> int:
    if not 0 <= value < limit:
        raise ValueError(f"a head with the number {value}, which no column can hold")
    return value
