"""What the ledger remembers of late: replay keys, and the numbers of record ids.

Both are in the local headers of entries, so that whoever takes over reads them back.
Times are ledger time, which never goes back, in microseconds since 1970.
"""

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from ledger.local_header import LocalHeader, microseconds

# issued-at + 6 min, issued at most 60 s ahead (design/ledger.md, exchange.md), and room
# for a message that was accepted and then waited.
ONCE_LIMIT: Final = timedelta(minutes=8)
# A lost acknowledgement is asked about within seconds; this is a minute at 2,000 a
# second, and 15 MB.
RECORD_IDS: Final = 1 << 17


@dataclass(slots=True)
class Recent:
    """Replay keys that still count, and the newest record ids."""

    _keys: dict[bytes, int] = field(default_factory=dict)
    _ends: list[tuple[int, bytes]] = field(default_factory=list)
    _records: OrderedDict[bytes, int] = field(default_factory=OrderedDict)

    def holds(self, key: bytes) -> bool:
        return key in self._keys

    def number_of(self, record_id: bytes) -> int | None:
        return self._records.get(record_id)

    def add(self, seq: int, header: LocalHeader) -> None:
        """Remember an entry that is durable."""
        if header.once is not None:
            end = microseconds(header.once.until)
            self._keys[header.once.key] = end
            heapq.heappush(self._ends, (end, header.once.key))
        self._records[header.record_id] = seq
        if len(self._records) > RECORD_IDS:
            self._records.popitem(last=False)

    def forget(self, ledger_time: int) -> None:
        """Let go of the keys whose end is before `ledger_time`."""
        while self._ends and self._ends[0][0] < ledger_time:
            end, key = heapq.heappop(self._ends)
            if self._keys.get(key) == end:
                del self._keys[key]
