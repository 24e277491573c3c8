"""A small public key infrastructure in memory, of the sandbox's own code."""

from datetime import timedelta

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from trust.certificates import (
    Algorithm,
    AuthenticationCertificate,
    Certificate,
    SigningCertificate,
    parse_certificate,
    verify_authentication_certificate,
    verify_signing_certificate,
)
from trust.keys import SoftwareKey
from trust.timestamps import build_request, parse_response
from trust_services.authority import (
    CertificationAuthority,
    Usage,
    root_certificate,
)
from trust_services.time_stamping import TimeStampingAuthority
from vocabulary.clock import Clock
from vocabulary.identifiers import MemberId, SecurityServerId
from vocabulary.imprint import Imprint

GOOD = ocsp.OCSPCertStatus.GOOD
REVOKED = ocsp.OCSPCertStatus.REVOKED
UNKNOWN = ocsp.OCSPCertStatus.UNKNOWN


class Pki:
    """An authority, its OCSP delegate and a time-stamping authority."""

    def __init__(self, clock: Clock, instance: str = "EE-SANDBOX") -> None:
        self.clock = clock
        self.authority_key = SoftwareKey.generate()
        self.authority = root_certificate(
            self.authority_key, instance=instance, at=clock()
        )
        self.ca = CertificationAuthority(
            self.authority_key,
            self.authority,
            instance=instance,
            ocsp_url="http://ocsp.invalid/ocsp",
            clock=clock,
        )
        self.delegate_key, self.delegate = self.service(Usage.OCSP_SIGNING)
        self.tsa_key, self.tsa_certificate = self.service(Usage.TIME_STAMPING)
        self.tsa = TimeStampingAuthority(
            self.tsa_key, self.tsa_certificate, clock=clock
        )

    @property
    def authorities(self) -> tuple[Certificate, ...]:
        return (self.authority,)

    @property
    def time_stamping_authorities(self) -> tuple[Certificate, ...]:
        return (self.tsa_certificate,)

    def service(self, usage: Usage) -> tuple[SoftwareKey, Certificate]:
        key = SoftwareKey.generate()
        return key, parse_certificate(self.ca.issue_for_service(key, usage).der)

    def signing(
        self,
        member: MemberId,
        algorithm: Algorithm = Algorithm.ECDSA_P256_SHA256,
    ) -> tuple[SoftwareKey, SigningCertificate]:
        key = SoftwareKey.generate(algorithm)
        issued = self.ca.issue(key.signing_request("any"), member, f"Member {member}")
        return key, verify_signing_certificate(
            parse_certificate(issued.der),
            chain=[],
            authorities=self.authorities,
            at=self.clock(),
        )

    def authentication(
        self, server: SecurityServerId
    ) -> tuple[SoftwareKey, AuthenticationCertificate]:
        key = SoftwareKey.generate()
        issued = self.ca.issue(key.signing_request("any"), server, f"Server {server}")
        return key, verify_authentication_certificate(
            parse_certificate(issued.der),
            chain=[],
            authorities=self.authorities,
            at=self.clock(),
        )

    def ocsp(
        self,
        certificate: Certificate,
        status=GOOD,
        this_update=None,
        validity: timedelta | None = timedelta(minutes=10),
    ) -> bytes:
        """Give a response signed by the delegate."""
        this_update = this_update or self.clock().replace(microsecond=0)
        response = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                certificate.x509,
                self.authority.x509,
                SHA256(),
                status,
                this_update,
                this_update + validity if validity else None,
                this_update if status is REVOKED else None,
                None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, self.delegate.x509)
            .certificates([self.delegate.x509])
            .sign(self.delegate_key.private_key, self.delegate_key.digest)
        )
        return response.public_bytes(Encoding.DER)

    def token(self, imprint: Imprint) -> bytes:
        return parse_response(self.tsa.answer(build_request(imprint)), nonce=None)
