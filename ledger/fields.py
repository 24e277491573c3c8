"""Values beside a signed head: committed to by it, and erasable without touching it.

Tags are numbered once, here and in docs/ledger-format.md.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from ledger.merkle import tree_root

FIELD = b"\x02"
SALT_OCTETS = 32


class Tag(IntEnum):
    """What a field holds. Fields stand in order of tag, then of position."""

    BODY = 1
    SUBJECT = 2
    OFFICIAL = 3
    CASE = 4
    # protos.v1 MetadataEntries.
    REQUEST_METADATA = 5
    INITIAL_METADATA = 6
    TRAILING_METADATA = 7
    STATUS_MESSAGE = 8
    FAULT_DETAIL = 9
    # Entries that an erasure batch erased: u64 each, big-endian, ascending.
    ERASED_ENTRIES = 10
    ERASURE_REASON = 11
    # Rows of the subject index that outlive the erasure: u64 entry and tag of 16
    # octets each, ascending.
    KEPT_INDEX_ROWS = 12


@dataclass(frozen=True, slots=True)
class Field:
    tag: int
    salt: bytes
    value: bytes

    @classmethod
    def salted(cls, tag: Tag, value: bytes) -> Self:
        return cls(tag, secrets.token_bytes(SALT_OCTETS), value)

    @property
    def commitment(self) -> bytes:
        """Says nothing of the value to who has no salt; ValueError if malformed."""
        if len(self.salt) != SALT_OCTETS or self.tag >> 16:
            raise ValueError(f"salt of {len(self.salt)} octets under tag {self.tag}")
        tag = self.tag.to_bytes(2, "big")
        return hashlib.sha256(FIELD + tag + self.salt + self.value).digest()


def fields_root(fields: Sequence[Field]) -> bytes:
    """One hash for all fields; ValueError unless they stand in order of tag."""
    return commitments_root(commitments_of(fields))


def commitments_of(fields: Sequence[Field]) -> list[bytes]:
    """Each field's commitment; ValueError unless they stand in order of tag."""
    tags = [field.tag for field in fields]
    if tags != sorted(tags):
        raise ValueError("fields out of order")
    return [field.commitment for field in fields]


def commitments_root(commitments: Sequence[bytes]) -> bytes:
    """Root over commitments as leaf hashes; SHA-256 of nothing when there are none."""
    return tree_root(commitments)
