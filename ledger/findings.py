"""What verification can find, and which mechanism finds it: two closed lists.

Documented in docs/ledger-format.md, "What is found". Codes are never renamed: programs
compare them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Mechanism(StrEnum):
    """What caught it."""

    SEQUENCE = "SEQUENCE"
    ROW_HASH = "ROW_HASH"
    HASH_LINK = "HASH_LINK"
    ENCODING = "ENCODING"
    LEDGER_TIME = "LEDGER_TIME"
    COMMITMENT = "COMMITMENT"
    DERIVED_COLUMN = "DERIVED_COLUMN"
    OPENING = "OPENING"
    INDEX_REBUILD = "INDEX_REBUILD"
    EVIDENCE = "EVIDENCE"
    SIGNATURE = "SIGNATURE"
    ROUND = "ROUND"
    CHECKPOINT = "CHECKPOINT"
    TIME_STAMP = "TIME_STAMP"
    HEAD_ROW = "HEAD_ROW"
    HELD_CHECKPOINT = "HELD_CHECKPOINT"


class Code(StrEnum):
    """What is not as it must be."""

    ENTRY_MISSING = "ENTRY_MISSING"
    ROW_HASH_MISMATCH = "ROW_HASH_MISMATCH"
    LINK_BROKEN = "LINK_BROKEN"
    LOCAL_HEADER_MALFORMED = "LOCAL_HEADER_MALFORMED"
    HEAD_UNREADABLE = "HEAD_UNREADABLE"
    ROW_UNREADABLE = "ROW_UNREADABLE"
    TIME_GOES_BACK = "TIME_GOES_BACK"
    COMMITMENTS_MISMATCH = "COMMITMENTS_MISMATCH"
    HEAD_FIELDS_MISMATCH = "HEAD_FIELDS_MISMATCH"
    COLUMN_MISMATCH = "COLUMN_MISMATCH"
    OPENING_ALTERED = "OPENING_ALTERED"
    OPENING_MISSING = "OPENING_MISSING"
    OPENING_SURPLUS = "OPENING_SURPLUS"
    ERASURE_MALFORMED = "ERASURE_MALFORMED"
    INDEX_ROW_MISSING = "INDEX_ROW_MISSING"
    INDEX_ROW_SURPLUS = "INDEX_ROW_SURPLUS"
    EVIDENCE_MISSING = "EVIDENCE_MISSING"
    EVIDENCE_ALTERED = "EVIDENCE_ALTERED"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    ROUND_MISSING = "ROUND_MISSING"
    ROUND_MISMATCH = "ROUND_MISMATCH"
    ROUND_TIME_MISMATCH = "ROUND_TIME_MISMATCH"
    CHECKPOINT_MISMATCH = "CHECKPOINT_MISMATCH"
    CHECKPOINT_UNSIGNED = "CHECKPOINT_UNSIGNED"
    TIME_STAMP_INVALID = "TIME_STAMP_INVALID"
    HEAD_ROW_MISMATCH = "HEAD_ROW_MISMATCH"
    HELD_ROOT_DIFFERS = "HELD_ROOT_DIFFERS"
    SMALLER_THAN_HELD = "SMALLER_THAN_HELD"


CAUGHT_BY: Final = {
    Code.ENTRY_MISSING: Mechanism.SEQUENCE,
    Code.ROW_HASH_MISMATCH: Mechanism.ROW_HASH,
    Code.LINK_BROKEN: Mechanism.HASH_LINK,
    Code.LOCAL_HEADER_MALFORMED: Mechanism.ENCODING,
    Code.HEAD_UNREADABLE: Mechanism.ENCODING,
    Code.ROW_UNREADABLE: Mechanism.ENCODING,
    Code.TIME_GOES_BACK: Mechanism.LEDGER_TIME,
    Code.COMMITMENTS_MISMATCH: Mechanism.COMMITMENT,
    Code.HEAD_FIELDS_MISMATCH: Mechanism.COMMITMENT,
    Code.COLUMN_MISMATCH: Mechanism.DERIVED_COLUMN,
    Code.OPENING_ALTERED: Mechanism.OPENING,
    Code.OPENING_MISSING: Mechanism.OPENING,
    Code.OPENING_SURPLUS: Mechanism.OPENING,
    Code.ERASURE_MALFORMED: Mechanism.OPENING,
    Code.INDEX_ROW_MISSING: Mechanism.INDEX_REBUILD,
    Code.INDEX_ROW_SURPLUS: Mechanism.INDEX_REBUILD,
    Code.EVIDENCE_MISSING: Mechanism.EVIDENCE,
    Code.EVIDENCE_ALTERED: Mechanism.EVIDENCE,
    Code.SIGNATURE_INVALID: Mechanism.SIGNATURE,
    Code.ROUND_MISSING: Mechanism.ROUND,
    Code.ROUND_MISMATCH: Mechanism.ROUND,
    Code.ROUND_TIME_MISMATCH: Mechanism.LEDGER_TIME,
    Code.CHECKPOINT_MISMATCH: Mechanism.CHECKPOINT,
    Code.CHECKPOINT_UNSIGNED: Mechanism.CHECKPOINT,
    Code.TIME_STAMP_INVALID: Mechanism.TIME_STAMP,
    Code.HEAD_ROW_MISMATCH: Mechanism.HEAD_ROW,
    Code.HELD_ROOT_DIFFERS: Mechanism.HELD_CHECKPOINT,
    Code.SMALLER_THAN_HELD: Mechanism.HELD_CHECKPOINT,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and the lowest entry that it leaves unproven."""

    entry: int
    code: Code
    detail: str

    @property
    def caught_by(self) -> Mechanism:
        return CAUGHT_BY[self.code]

    def __str__(self) -> str:
        return f"entry {self.entry}: {self.code} ({self.detail})"


class LedgerBroken(Exception):
    """The ledger is not what it was; nothing may be appended to it."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding
