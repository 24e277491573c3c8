"""Rounds, their checkpoints and time-stamps, and a checkpoint held elsewhere."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from ledger.audit.rows import Row, Rows, broken
from ledger.checkpoint import (
    Checkpoint,
    CheckpointInvalid,
    VerifierKey,
    verify_checkpoint,
)
from ledger.entry import LinkedEntry, entry_leaf
from ledger.findings import Code
from ledger.local_header import EPOCH
from ledger.merkle import Frontier
from ledger.snapshot import Snapshot
from trust.certificates import Certificate
from trust.timestamps import verify_token
from vocabulary.faults import TimeStampInvalid
from vocabulary.imprint import Imprint

_ROUNDS: Final = (
    "SELECT round, size, root, note, closed_at FROM ledger.round ORDER BY round"
)
_ROUND_TYPES: Final = ("int8", "int8", "bytea", "bytea", "timestamptz")
_TOKENS: Final = (
    "SELECT round, imprint, token FROM ledger.time_stamp ORDER BY round, imprint"
)
_TOKEN_TYPES: Final = ("int8", "bytea", "bytea")


class RoundAudit:
    """Grows the tree entry by entry and compares its roots with what was signed."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        log_keys: Sequence[VerifierKey],
        authorities: Sequence[Certificate],
        held: Checkpoint | None,
    ) -> None:
        self._rows = Rows(snapshot.stream(_ROUNDS, _ROUND_TYPES))
        self._tokens = Rows(snapshot.stream(_TOKENS, _TOKEN_TYPES))
        self._log_keys = log_keys
        self._authorities = authorities
        self._held = held
        self._tree = Frontier()
        self._open = 0
        self._covered = 0
        self._time = EPOCH
        self.newest: Checkpoint | None = None
        self.time_stamped = 0
        self._compare_with_held()

    @property
    def open_round(self) -> int:
        return self._open

    @property
    def ledger_time(self) -> datetime:
        """Of the last entry or round there is."""
        return self._time

    def add(self, entry: LinkedEntry) -> None:
        """Close the rounds before its own, then take it into the tree."""
        if entry.round < self._open:
            detail = f"of round {entry.round}, which was closed before it"
            raise broken(entry.seq, Code.ROUND_MISMATCH, detail)
        while self._open < entry.round:
            self._close()
        recorded_at = entry.columns.recorded_at
        if recorded_at < self._time:
            detail = "recorded before the round before its own was closed"
            raise broken(entry.seq, Code.ROUND_TIME_MISMATCH, detail)
        self._time = recorded_at
        self._tree.append(entry_leaf(entry.row_hash))
        self._compare_with_held()

    def finish(self) -> None:
        """Close the rounds after the last entry; nothing may be left over."""
        while self._rows.next_number is not None:
            self._close()
        if self._tokens.next_number is not None:
            detail = f"a token for round {self._tokens.next_number}, which is not there"
            raise broken(self._covered, Code.TIME_STAMP_INVALID, detail)
        if self._held is not None and self._tree.size < self._held.size:
            detail = f"{self._held.size} entries were there when it was signed"
            raise broken(self._tree.size, Code.SMALLER_THAN_HELD, detail)

    def _close(self) -> None:
        number = self._open
        if self._rows.next_number != number:
            detail = f"there is no round {number}"
            raise broken(self._covered, Code.ROUND_MISSING, detail)
        _, size, root, note, closed_at = self._rows.take()
        if (size, root) != (self._tree.size, self._tree.root):
            detail = f"round {number} was closed over other entries than there are"
            raise broken(self._covered, Code.CHECKPOINT_MISMATCH, detail)
        self._verify_note(number, note)
        if closed_at < self._time:
            detail = f"round {number} was closed before its last entry was recorded"
            raise broken(self._covered, Code.ROUND_TIME_MISMATCH, detail)
        self._time = closed_at
        self._verify_tokens(number, note)
        self._open, self._covered = number + 1, self._tree.size

    def _verify_note(self, number: int, note: bytes) -> None:
        told = self.newest
        # In silence every second signs the same.
        if told is None or told.note != note:
            try:
                told = verify_checkpoint(note, self._log_keys)
            except CheckpointInvalid as error:
                detail = f"round {number}: {error}"
                raise broken(self._covered, Code.CHECKPOINT_UNSIGNED, detail) from error
        if (told.size, told.root) != (self._tree.size, self._tree.root):
            detail = f"round {number} has signed for other entries than there are"
            raise broken(self._covered, Code.CHECKPOINT_MISMATCH, detail)
        self.newest = told

    def _verify_tokens(self, number: int, note: bytes) -> None:
        for row in self._tokens.up_to(number):
            if row[0] != number:
                detail = f"a token for round {row[0]}, which is not there"
                raise broken(self._covered, Code.TIME_STAMP_INVALID, detail)
            self._verify_token(row, note)

    def _verify_token(self, row: Row, note: bytes) -> None:
        number, imprint, token = row
        if Imprint.of(token).octets != imprint:
            detail = f"a token for round {number} is not what its imprint says"
            raise broken(self._covered, Code.TIME_STAMP_INVALID, detail)
        if not self._authorities:
            return
        try:
            verify_token(token, imprint=Imprint.of(note), authorities=self._authorities)
        except TimeStampInvalid as fault:
            detail = f"round {number}: {fault.detail}"
            raise broken(self._covered, Code.TIME_STAMP_INVALID, detail) from fault
        self.time_stamped = self._tree.size

    def _compare_with_held(self) -> None:
        held = self._held
        if held is None or held.size != self._tree.size:
            return
        if held.root != self._tree.root:
            detail = f"the first {held.size} are not those it was signed over"
            raise broken(0, Code.HELD_ROOT_DIFFERS, detail)
