"""What the ledger remembers of late: replay keys, and the numbers of record ids.

Both are in the local headers of entries, so that whoever takes over reads them back. A
key is kept until ledger time, which never goes back, is past its end. What ends no
later than a key that was let go cannot be told from a replay, whatever the clock says.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from ledger.local_header import LocalHeader, microseconds, moment_of
from ledger.record import Once
from vocabulary.faults import OutsideAcceptanceWindow, Replayed

# issued-at + 6 min, issued at most 60 s ahead, and room for what was accepted and then
# waited.
ONCE_LIMIT: Final = timedelta(minutes=8)
# At least so many newest entries are remembered, however old. A lost acknowledgement is
# asked about within seconds, and this is a quarter of a minute at 2,000 a second.
ENTRIES: Final = 1 << 15


@dataclass(slots=True)
class Recent:
    """Replay keys that still count, and the newest record ids.

    Times are in microseconds since 1970. `let_go` is the latest end of all keys that
    are no longer held, or not before it.
    """

    let_go: int = 0
    _keys: OrderedDict[bytes, tuple[int, int]] = field(default_factory=OrderedDict)
    _records: OrderedDict[bytes, int] = field(default_factory=OrderedDict)

    def require_new(self, once: Once) -> None:
        """Raise Replayed or OutsideAcceptanceWindow if it may have come before."""
        if once.key in self._keys:
            raise Replayed(
                "this part was received before; ask with a new message id, after"
                " finding out what became of the first"
            )
        if microseconds(once.until) <= self.let_go:
            raise OutsideAcceptanceWindow(
                f"to be accepted until {once.until.isoformat()}, which this ledger is"
                f" past (by {moment_of(self.let_go).isoformat()}); sign it again"
            )

    def number_of(self, record_id: bytes) -> int | None:
        return self._records.get(record_id)

    def add(self, seq: int, header: LocalHeader) -> None:
        """Remember an entry that is durable, newest last."""
        if header.once is not None:
            self._keys[header.once.key] = (microseconds(header.once.until), seq)
        self._records[header.record_id] = seq
        if len(self._records) > ENTRIES:
            self._records.popitem(last=False)

    def forget(self, *, size: int, ledger_time: int) -> None:
        """Let go of old keys whose end is past, in a ledger of `size` entries."""
        while self._keys:
            key, (end, seq) = next(iter(self._keys.items()))
            if end >= ledger_time or seq >= size - ENTRIES:
                return
            del self._keys[key]
            self.let_go = max(self.let_go, end)
