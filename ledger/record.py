"""What is recorded: one record becomes one entry of the ledger.

A record is made by the walk, before the ledger has given it a number and a time. The
bytes of its head are kept verbatim; what is personal or large in it is a field.
"""

import os
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from ledger.fields import Field
from ledger.merkle import leaf_hash
from vocabulary.clock import utc_now
from vocabulary.imprint import Imprint
from vocabulary.pae import pae

HASH_OCTETS = 32
RECORD_ID_OCTETS = 16
# Of the tree over one signed batch.
PATH_STEPS = 16


class Kind(IntEnum):
    """What an entry is of; numbered once, here and in docs/ledger-format.md."""

    REQUEST_SENT = 1
    REQUEST_RECEIVED = 2
    REQUEST_REFUSED = 3
    RESPONSE_SENT = 4
    RESPONSE_RECEIVED = 5
    RESPONSE_FAILED = 6
    PART_SENT = 7
    PART_RECEIVED = 8
    CANCELLED = 9
    ACCESS_LOG_READ = 10
    ERASURE = 11
    DISCLOSURE_CHANGED = 12
    CONFIGURATION_CHANGED = 13
    REOPENED = 14


def new_record_id() -> bytes:
    """Octets of a UUIDv7 (RFC 9562 §5.7)."""
    milliseconds = int(utc_now().timestamp() * 1000)
    random = int.from_bytes(os.urandom(10), "big")
    version_and_variant = 0x7 << 76 | 0b10 << 62
    kept = (1 << 80) - 1 - (0xF << 76) - (0b11 << 62)
    low = random & kept | version_and_variant
    return (milliseconds << 80 | low).to_bytes(RECORD_ID_OCTETS, "big")


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """The signed head of a part, as it was signed."""

    type: str
    head: bytes

    @property
    def imprint(self) -> Imprint:
        """The name of the part wherever another part or a record refers to it."""
        return Imprint.sha2_256(leaf_hash(pae(self.type, self.head)))


@dataclass(frozen=True, slots=True)
class HeadSummary:
    """What a head says; text is empty and numbers are 0 where it says nothing."""

    message_id: str
    client: str
    service: str
    method: str
    consumer_server: str
    provider_server: str
    direction: int
    part: int
    purpose: str
    legal_basis: str
    status: int
    issued_at: datetime
    fields_root: bytes
    # The member whose key must have signed it.
    signer: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Who signed a part: the signature of its batch, and the path to it.

    `certificate` is the SHA-256 of the signing certificate; `chain` names its issuers
    and `ocsp` the response that said it was good. All of them are in the table
    `evidence`.
    """

    signature: bytes
    leaf_index: int
    leaf_count: int
    path: tuple[bytes, ...]
    certificate: bytes
    chain: tuple[Imprint, ...] = ()
    ocsp: Imprint | None = None

    def __post_init__(self) -> None:
        hashes = (*self.path, self.certificate)
        if any(len(octets) != HASH_OCTETS for octets in hashes):
            raise ValueError("evidence with a hash that is not of 32 octets")
        if len(self.path) > PATH_STEPS:
            raise ValueError(f"a path of {len(self.path)} steps, {PATH_STEPS} at most")
        if not (0 <= self.leaf_index < self.leaf_count < 1 << 32 and self.signature):
            raise ValueError(
                f"no signature, or no leaf {self.leaf_index} of {self.leaf_count}"
            )

    @property
    def references(self) -> tuple[Imprint, ...]:
        """Everything of it that is kept in the table `evidence`."""
        ocsp = () if self.ocsp is None else (self.ocsp,)
        return (Imprint.sha2_256(self.certificate), *self.chain, *ocsp)


@dataclass(frozen=True, slots=True)
class Once:
    """What may be received only once; kept until ledger time is past `until`."""

    key: bytes
    until: datetime

    def __post_init__(self) -> None:
        if len(self.key) != HASH_OCTETS or self.until.tzinfo is None:
            raise ValueError("a replay key is 32 octets, its end an aware datetime")


@dataclass(frozen=True, slots=True)
class LedgerRecord:
    """What the walk asks to be recorded.

    `fields` stand in order of tag. `unopened` are the positions of those whose value
    the ledger is not to keep: they are committed to, and never opened from it.
    `fault_code` and `execution` are the numbers of protos/v1/fault.proto, 0 for none.
    """

    kind: Kind
    part: RecordedPart | None = None
    fields: tuple[Field, ...] = ()
    evidence: Evidence | None = None
    peer_row_hash: bytes | None = None
    once: Once | None = None
    fault_code: int = 0
    execution: int = 0
    unopened: tuple[int, ...] = ()
    record_id: bytes = field(default_factory=new_record_id)

    def __post_init__(self) -> None:
        if len(self.record_id) != RECORD_ID_OCTETS:
            raise ValueError("a record id is 16 octets")
        if self.peer_row_hash is not None and len(self.peer_row_hash) != HASH_OCTETS:
            raise ValueError("a row hash is 32 octets")
        if not (0 <= self.fault_code < 1 << 31 and 0 <= self.execution < 1 << 8):
            raise ValueError("not the number of a fault code or an execution")
        if self.evidence is not None and self.part is None:
            raise ValueError("evidence without the part it is for")
        positions = list(self.unopened)
        if positions != sorted(set(positions) & set(range(len(self.fields)))):
            raise ValueError("unopened positions out of order, or of no field")

    @property
    def octets(self) -> int:
        """What it weighs in a batch, near enough."""
        head = 0 if self.part is None else len(self.part.head)
        return head + sum(len(field.value) for field in self.fields)


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a record stands, durably."""

    seq: int
    round: int
    row_hash: bytes
