"""Certificates and OCSP responses under their imprints, and signatures."""

from ledger.audit.rows import broken
from ledger.examination import ExaminedEntry
from ledger.findings import Code
from ledger.heads import EvidenceVerifier
from ledger.snapshot import Snapshot
from vocabulary.faults import Fault
from vocabulary.imprint import Imprint


class EvidenceAudit:
    def __init__(self, snapshot: Snapshot, verifier: EvidenceVerifier | None) -> None:
        self._verifier = verifier
        self._kept = snapshot.evidence()
        self._sound: set[bytes] = set()
        self._altered: set[bytes] = set()
        query = "SELECT imprint, der FROM ledger.evidence"
        for imprint, der in snapshot.stream(query, ("bytea", "bytea")):
            sound = Imprint.of(der).octets == imprint
            (self._sound if sound else self._altered).add(imprint)

    def check(self, examined: ExaminedEntry) -> None:
        """Raise LedgerBroken unless all it refers to is there and has signed it."""
        evidence, part = examined.header.evidence, examined.part
        seq = examined.entry.seq
        if evidence is None or part is None:
            return
        for imprint in evidence.references:
            if imprint.octets not in self._sound:
                altered = imprint.octets in self._altered
                code = Code.EVIDENCE_ALTERED if altered else Code.EVIDENCE_MISSING
                raise broken(seq, code, f"what imprint {imprint} names")
        if self._verifier is None:
            return
        try:
            self._verifier.verify(part, evidence, self._kept)
        except Fault as fault:
            detail = f"{fault.code}: {fault.detail}"
            raise broken(seq, Code.SIGNATURE_INVALID, detail) from fault
        except (KeyError, ValueError) as error:
            raise broken(seq, Code.SIGNATURE_INVALID, str(error)) from error

    def finish(self, size: int) -> None:
        if self._altered:
            detail = "no entry names it, but it is not what its imprint says"
            raise broken(size, Code.EVIDENCE_ALTERED, detail)
