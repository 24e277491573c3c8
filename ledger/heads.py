"""What the ledger asks about a head: it keeps the octets and knows no message type."""

from collections.abc import Mapping
from typing import Protocol

from ledger.record import Evidence, HeadSummary, RecordedPart


class HeadReader(Protocol):
    def read(self, part: RecordedPart) -> HeadSummary:
        """Give the same summary for the same octets, for ever. ValueError if none."""
        ...


class EvidenceVerifier(Protocol):
    def verify(
        self,
        part: RecordedPart,
        evidence: Evidence,
        certificates: Mapping[bytes, bytes],
    ) -> None:
        """Raise a Fault unless `part` was signed by whom it speaks for.

        `certificates` gives certificates and OCSP responses, DER, by their SHA-256;
        KeyError for one that the ledger does not hold.
        """
        ...
