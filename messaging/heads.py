"""What the ledger asks about heads that it keeps without understanding them."""

from collections.abc import Mapping

from ledger.record import Evidence, HeadSummary, RecordedPart
from messaging.signing import SignedBatches
from messaging.wire.summaries import summarise
from trust.certificates import Certificate, parse_certificate, signing_member
from vocabulary.faults import SignerMismatch


class HeadReader:
    """Reads a head's own statements, as the ledger's query columns need them."""

    def read(self, part: RecordedPart) -> HeadSummary:
        """Raise ValueError for a head that cannot be read."""
        return summarise(part)


class EvidenceVerifier:
    """Verifies the signature that a recorded part was believed for.

    Whether the certificate was good is not judged here: that was done when the part was
    received, with the OCSP response that the record names.
    """

    def __init__(self) -> None:
        self._parsed: dict[bytes, Certificate] = {}
        self._batches = SignedBatches()

    def verify(
        self,
        part: RecordedPart,
        evidence: Evidence,
        certificates: Mapping[bytes, bytes],
    ) -> None:
        """Raise SignatureInvalid, SignerMismatch or CertificateInvalid.

        `certificates` holds DER by its SHA-256; KeyError for one that it does not hold.
        """
        named = evidence.certificate
        if named not in self._parsed:
            self._parsed[named] = parse_certificate(certificates[named])
        certificate = self._parsed[named]
        self._batches.verify(part.imprint.digest, evidence, certificate)
        signer, speaks_for = signing_member(certificate), summarise(part).signer
        if str(signer) != speaks_for:
            raise SignerMismatch(f"{signer} has signed for {speaks_for}")
