"""Whose signature a part carries, judged now by chain, profile and status.

Certificates and OCSP responses travel once and are then named by imprint, so this keeps
what was learnt, in memory and bounded; what a record refers to is kept in the ledger.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ledger.record import Evidence
from trust.certificates import (
    INTERMEDIATES_LIMIT,
    Certificate,
    SigningCertificate,
    parse_certificate,
    verify_signing_certificate,
)
from trust.global_configuration import GlobalConfiguration
from trust.ocsp import verify_response
from vocabulary.faults import (
    CertificateStatusUnknown,
    LimitExceeded,
    ReferenceUnknown,
)
from vocabulary.imprint import Imprint

# A certificate or OCSP response is 1 to 4 KiB.
DER_LIMIT = 64 << 10
HELD_LIMIT = 4096


class Configured(Protocol):
    def current(self) -> GlobalConfiguration:
        """Raise ConfigurationExpired when there is none that is valid."""


@dataclass(frozen=True, slots=True)
class _Judged:
    signer: SigningCertificate
    configuration_version: int
    until: datetime


class Signers:
    def __init__(self, configuration: Configured) -> None:
        self._configuration = configuration
        self._held: OrderedDict[Imprint, bytes] = OrderedDict()
        self._judged: OrderedDict[tuple[Imprint, ...], _Judged] = OrderedDict()

    def learn(self, ders: Iterable[bytes]) -> None:
        """Keep what a peer sent inline. Nothing is believed for being held."""
        for der in ders:
            if len(der) > DER_LIMIT:
                raise LimitExceeded(f"evidence over {DER_LIMIT} octets")
            imprint = Imprint.of(der)
            self._held[imprint] = der
            self._held.move_to_end(imprint)
        while len(self._held) > HELD_LIMIT:
            self._held.popitem(last=False)

    def evidence(self, evidence: Evidence) -> tuple[bytes, ...]:
        """All that `evidence` refers to, DER; ReferenceUnknown if not all is held."""
        return tuple(self._der(imprint) for imprint in evidence.references)

    def signer(self, evidence: Evidence, *, at: datetime) -> SigningCertificate:
        """Say whose key `evidence` names, if that key may be believed `at` this time.

        Raise ReferenceUnknown, CertificateInvalid, CertificateRevoked or
        CertificateStatusUnknown. The signature itself is not looked at.
        """
        configuration = self._configuration.current()
        key = evidence.references
        judged = self._judged.get(key)
        if (
            judged is None
            or judged.configuration_version != configuration.version
            or at > judged.until
        ):
            judged = self._judge(evidence, configuration, at)
            self._judged[key] = judged
            while len(self._judged) > HELD_LIMIT:
                self._judged.popitem(last=False)
        return judged.signer

    def _judge(
        self, evidence: Evidence, configuration: GlobalConfiguration, at: datetime
    ) -> _Judged:
        if len(evidence.chain) > INTERMEDIATES_LIMIT:
            raise LimitExceeded(f"a chain of over {INTERMEDIATES_LIMIT} certificates")
        if evidence.ocsp is None:
            raise CertificateStatusUnknown("no OCSP response is stapled to the part")
        chain = [parse_certificate(self._der(each)) for each in evidence.chain]
        signer = verify_signing_certificate(
            parse_certificate(self._der(Imprint.sha2_256(evidence.certificate))),
            chain=chain,
            authorities=authorities(configuration),
            at=at,
        )
        status = verify_response(
            self._der(evidence.ocsp),
            certificate=signer.certificate,
            issuer=signer.issuer,
            at=at,
            freshness=configuration.ocsp_freshness,
        )
        not_after = signer.certificate.x509.not_valid_after_utc
        until = min(status.fresh_until, not_after)
        return _Judged(signer, configuration.version, until)

    def _der(self, imprint: Imprint) -> bytes:
        try:
            return self._held[imprint]
        except KeyError:
            raise ReferenceUnknown(
                f"certificate or OCSP response {imprint} was never sent here; "
                "send the part again with its evidence inline"
            ) from None


def authorities(configuration: GlobalConfiguration) -> Sequence[Certificate]:
    return [each.certificate for each in configuration.certification_authorities]
