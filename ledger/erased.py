"""What an ERASURE entry says: which entries, why, and what of them stays.

Content grade: the openings go, the rows of the subject index stay, so that the person
still sees that it happened. The list is a field like any other.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ledger.fields import Field, Tag
from ledger.subject_keys import TAG_OCTETS

_ENTRY = struct.Struct(">Q")
_INDEX_ROW = struct.Struct(f">Q{TAG_OCTETS}s")


def erasure_fields(
    entries: Iterable[int], kept_index_rows: Iterable[tuple[int, bytes]], reason: str
) -> tuple[Field, ...]:
    erased = b"".join(map(_ENTRY.pack, sorted(set(entries))))
    kept = b"".join(_INDEX_ROW.pack(*row) for row in sorted(set(kept_index_rows)))
    return (
        Field.salted(Tag.ERASED_ENTRIES, erased),
        Field.salted(Tag.ERASURE_REASON, reason.encode()),
        Field.salted(Tag.KEPT_INDEX_ROWS, kept),
    )


def parse_erased_entries(value: bytes) -> tuple[int, ...]:
    """Raise ValueError unless it is one or more numbers, ascending."""
    entries = [number for (number,) in _parse(_ENTRY, value)]
    if not entries:
        raise ValueError("a list of erased entries that is empty")
    return tuple(entries)


def parse_kept_index_rows(value: bytes) -> tuple[tuple[int, bytes], ...]:
    """Raise ValueError unless it is rows in ascending order."""
    return tuple((seq, tag) for seq, tag in _parse(_INDEX_ROW, value))


def _parse(item: struct.Struct, value: bytes) -> list[tuple[Any, ...]]:
    if len(value) % item.size:
        raise ValueError(f"a list of erased things with {len(value)} octets")
    items = list(item.iter_unpack(value))
    if any(one >= following for one, following in pairwise(items)):
        raise ValueError("a list of erased things that is out of order")
    return items


@dataclass(slots=True)
class Erased:
    """What all erasures so far have erased, and what they kept."""

    entries: dict[int, int] = field(default_factory=dict)
    index_rows: dict[int, set[bytes]] = field(default_factory=dict)

    def add(self, seq: int, tag: int, value: bytes) -> None:
        """Take one opening of the ERASURE entry `seq`; ValueError if it is malformed.

        An erasure names entries before it, and each entry is erased once.
        """
        if tag == Tag.ERASED_ENTRIES:
            for entry in parse_erased_entries(value):
                if entry >= seq:
                    raise ValueError(f"it erases entry {entry}, which comes after it")
                self.entries.setdefault(entry, seq)
        elif tag == Tag.KEPT_INDEX_ROWS:
            for entry, index_tag in parse_kept_index_rows(value):
                self.index_rows.setdefault(entry, set()).add(index_tag)
