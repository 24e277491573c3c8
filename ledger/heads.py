"""What the ledger asks about a head: it keeps the octets and knows no message type."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ledger.record import Evidence, RecordedPart


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

        `certificates` maps the octets of imprints to DER, of certificates and of OCSP
        responses; KeyError for one that the ledger does not hold.
        """
        ...
