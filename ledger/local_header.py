"""The local header: what a server adds to what was exchanged.

Encoded once, when the entry is linked, and stored as the octets that were hashed. One
value has one encoding (docs/ledger-format.md, "Local header"): items in ascending order
of tag, each u16 tag, u32 length and value; what is absent or empty is left out.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Self

from ledger.record import (
    HASH_OCTETS,
    RECORD_ID_OCTETS,
    Evidence,
    Kind,
    LedgerRecord,
    Once,
)
from vocabulary.imprint import Imprint

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ITEM = struct.Struct(">HI")
_LEAF = struct.Struct(">II")
_IMPRINT_OCTETS = 33


class HeaderTag(IntEnum):
    """Numbered once, here and in docs/ledger-format.md."""

    KIND = 1
    RECORDED_AT = 2
    RECORD_ID = 3
    PEER_ROW_HASH = 4
    FAULT_CODE = 5
    EXECUTION = 6
    ONCE_KEY = 7
    ONCE_UNTIL = 8
    UNOPENED = 9
    SIGNATURE = 10
    LEAF = 11
    PATH = 12
    CERTIFICATE = 13
    CHAIN = 14
    OCSP = 15


def microseconds(moment: datetime) -> int:
    """Give time as it stands in headers: microseconds since 1970, UTC."""
    return (moment - EPOCH) // _MICROSECOND


def moment_of(since_epoch: int) -> datetime:
    try:
        return EPOCH + timedelta(microseconds=since_epoch)
    except OverflowError as error:
        raise ValueError("a time after the year 9999") from error


@dataclass(frozen=True, slots=True)
class LocalHeader:
    """What was recorded beside the part; `recorded_at` in microseconds since 1970."""

    kind: Kind
    recorded_at: int
    record_id: bytes
    peer_row_hash: bytes | None = None
    fault_code: int = 0
    execution: int = 0
    once: Once | None = None
    unopened: tuple[int, ...] = ()
    evidence: Evidence | None = None

    @classmethod
    def of(cls, record: LedgerRecord, recorded_at: int) -> Self:
        return cls(
            record.kind,
            recorded_at,
            record.record_id,
            record.peer_row_hash,
            record.fault_code,
            record.execution,
            record.once,
            record.unopened,
            record.evidence,
        )

    def encode(self) -> bytes:
        items = [
            (HeaderTag.KIND, _octet(self.kind)),
            (HeaderTag.RECORDED_AT, self.recorded_at.to_bytes(8, "big")),
            (HeaderTag.RECORD_ID, self.record_id),
        ]
        if self.peer_row_hash is not None:
            items.append((HeaderTag.PEER_ROW_HASH, self.peer_row_hash))
        if self.fault_code:
            items.append((HeaderTag.FAULT_CODE, self.fault_code.to_bytes(4, "big")))
        if self.execution:
            items.append((HeaderTag.EXECUTION, _octet(self.execution)))
        if self.once is not None:
            until = microseconds(self.once.until).to_bytes(8, "big")
            items += [(HeaderTag.ONCE_KEY, self.once.key)]
            items += [(HeaderTag.ONCE_UNTIL, until)]
        if self.unopened:
            positions = struct.pack(f">{len(self.unopened)}H", *self.unopened)
            items.append((HeaderTag.UNOPENED, positions))
        if self.evidence is not None:
            items += _evidence_items(self.evidence)
        return b"".join(
            [_ITEM.pack(tag, len(value)) + value for tag, value in items],
        )

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Raise ValueError for any other octets than `encode` gives."""
        items = _items(octets)
        until = items.get(HeaderTag.ONCE_UNTIL)
        key = items.get(HeaderTag.ONCE_KEY)
        once = None
        if key is not None and until is not None:
            once = Once(key, moment_of(int.from_bytes(until, "big")))
        elif key is not until:
            raise ValueError("a replay key without its end, or the end without it")
        try:
            return cls(
                Kind(items[HeaderTag.KIND][0]),
                int.from_bytes(items[HeaderTag.RECORDED_AT], "big"),
                items[HeaderTag.RECORD_ID],
                items.get(HeaderTag.PEER_ROW_HASH),
                int.from_bytes(items.get(HeaderTag.FAULT_CODE, b""), "big"),
                int.from_bytes(items.get(HeaderTag.EXECUTION, b""), "big"),
                once,
                _positions(items.get(HeaderTag.UNOPENED, b"")),
                _evidence(items),
            )
        except (KeyError, OverflowError) as error:
            raise ValueError(f"a local header that is not whole: {error}") from error


def _octet(number: int) -> bytes:
    return number.to_bytes(1, "big")


def _evidence_items(evidence: Evidence) -> list[tuple[HeaderTag, bytes]]:
    leaf = _LEAF.pack(evidence.leaf_index, evidence.leaf_count)
    items = [(HeaderTag.SIGNATURE, evidence.signature), (HeaderTag.LEAF, leaf)]
    if evidence.path:
        items.append((HeaderTag.PATH, b"".join(evidence.path)))
    items.append((HeaderTag.CERTIFICATE, evidence.certificate))
    if evidence.chain:
        chain = b"".join(imprint.octets for imprint in evidence.chain)
        items.append((HeaderTag.CHAIN, chain))
    if evidence.ocsp is not None:
        items.append((HeaderTag.OCSP, evidence.ocsp.octets))
    return items


def _fixed(octets: int) -> Callable[[bytes], bool]:
    return lambda value: len(value) == octets


def _number(octets: int) -> Callable[[bytes], bool]:
    """Not 0: nothing has one spelling, to be absent."""
    return lambda value: len(value) == octets and any(value)


def _several(octets: int) -> Callable[[bytes], bool]:
    return lambda value: len(value) > 0 and len(value) % octets == 0


# What each value looks like; a tag that is not here does not exist.
_SHAPES: dict[int, Callable[[bytes], bool]] = {
    HeaderTag.KIND: _number(1),
    HeaderTag.RECORDED_AT: _fixed(8),
    HeaderTag.RECORD_ID: _fixed(RECORD_ID_OCTETS),
    HeaderTag.PEER_ROW_HASH: _fixed(HASH_OCTETS),
    # A column of PostgreSQL holds it, which counts to 2^31 - 1.
    HeaderTag.FAULT_CODE: lambda value: _number(4)(value) and not value[0] >> 7,
    HeaderTag.EXECUTION: _number(1),
    HeaderTag.ONCE_KEY: _fixed(HASH_OCTETS),
    HeaderTag.ONCE_UNTIL: _fixed(8),
    HeaderTag.UNOPENED: _several(2),
    HeaderTag.SIGNATURE: lambda value: len(value) > 0,
    HeaderTag.LEAF: _fixed(_LEAF.size),
    HeaderTag.PATH: _several(HASH_OCTETS),
    HeaderTag.CERTIFICATE: _fixed(HASH_OCTETS),
    HeaderTag.CHAIN: _several(_IMPRINT_OCTETS),
    HeaderTag.OCSP: _fixed(_IMPRINT_OCTETS),
}


def _items(octets: bytes) -> dict[int, bytes]:
    items: dict[int, bytes] = {}
    at, before, end = 0, 0, len(octets)
    while at < end:
        if at + _ITEM.size > end:
            raise ValueError("a local header that ends within an item")
        tag, length = _ITEM.unpack_from(octets, at)
        at += _ITEM.size
        value = octets[at : at + length]
        at += length
        shape = _SHAPES.get(tag)
        if tag <= before or at > end or shape is None or not shape(value):
            raise ValueError(f"item {tag} of a local header out of order or malformed")
        items[tag] = value
        before = tag
    return items


def _positions(value: bytes) -> tuple[int, ...]:
    positions: tuple[int, ...] = struct.unpack(f">{len(value) // 2}H", value)
    if list(positions) != sorted(set(positions)):
        raise ValueError("unopened positions out of order")
    return positions


def _evidence(items: dict[int, bytes]) -> Evidence | None:
    present = [tag for tag in items if tag >= HeaderTag.SIGNATURE]
    if not present:
        return None
    index, count = _LEAF.unpack(items[HeaderTag.LEAF])
    ocsp = items.get(HeaderTag.OCSP)
    return Evidence(
        items[HeaderTag.SIGNATURE],
        index,
        count,
        _cut(items.get(HeaderTag.PATH, b""), HASH_OCTETS),
        items[HeaderTag.CERTIFICATE],
        tuple(map(Imprint.parse, _cut(items.get(HeaderTag.CHAIN, b""), 33))),
        None if ocsp is None else Imprint.parse(ocsp),
    )


def _cut(value: bytes, octets: int) -> tuple[bytes, ...]:
    return tuple(value[at : at + octets] for at in range(0, len(value), octets))
