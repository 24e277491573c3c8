"""Who is at the other end of a stream: Hello, found true against TLS and registration.

A peer is believed when each of these holds:

1. it is a security server of the global configuration;
2. its authentication certificate is one that was registered for it, and, where TLS
   shows the certificate (to the end that was called), it is that very one;
3. an approved CA vouches for that certificate as this server's;
4. its status is good: by the response stapled to Hello, which must verify, and by
   what is held here, judged again for every batch.
"""

from dataclasses import dataclass

from messaging.signers import Configured, authorities
from security_server.certificate_status import CertificateStatuses
from trust.certificates import Certificate, verify_authentication_certificate
from vocabulary.clock import Clock
from vocabulary.faults import (
    CertificateInvalid,
    CertificateUnknown,
    PeerMismatch,
)
from vocabulary.identifiers import SecurityServerId


@dataclass(frozen=True, slots=True)
class Hello:
    """What an end of a stream says of itself."""

    server: SecurityServerId
    certificate_thumbprint: bytes
    ocsp_response: bytes


@dataclass(frozen=True, slots=True)
class Peer:
    """A security server that was believed to be at the other end."""

    server: SecurityServerId
    certificate: Certificate


class PeerIdentity:
    def __init__(
        self,
        server: SecurityServerId,
        certificate: Certificate,
        configuration: Configured,
        statuses: CertificateStatuses,
        clock: Clock,
    ) -> None:
        self._server = server
        self._certificate = certificate
        self._configuration = configuration
        self._statuses = statuses
        self._clock = clock

    def hello(self) -> Hello:
        """Raise CertificateRevoked or CertificateStatusUnknown for our own."""
        status = self._statuses.status(self._certificate)
        return Hello(self._server, self._certificate.thumbprint, status.der)

    def verify_called(self, hello: Hello, *, called: SecurityServerId) -> Peer:
        """Believe the end that we called; TLS pinned its registered certificates."""
        if hello.server != called:
            raise PeerMismatch(f"called {called}, reached {hello.server}")
        return self._believe(hello)

    def verify_caller(self, hello: Hello, *, tls_certificate: Certificate) -> Peer:
        """Believe the end that called us, whose certificate TLS has shown."""
        if hello.certificate_thumbprint != tls_certificate.thumbprint:
            raise PeerMismatch(
                f"{hello.server} says Hello with another certificate than TLS has shown"
            )
        return self._believe(hello)

    def require_good(self, peer: Peer) -> None:
        """Judge again, from what is held: registration, then status."""
        self._registered(peer.server, peer.certificate.thumbprint)
        self._statuses.status(peer.certificate)

    def _believe(self, hello: Hello) -> Peer:
        certificate = self._registered(
            hello.server, hello.certificate_thumbprint
        )  # 1, 2
        believed = verify_authentication_certificate(  # 3
            certificate,
            chain=(),
            authorities=authorities(self._configuration.current()),
            at=self._clock(),
        )
        if believed.server != hello.server:
            raise CertificateInvalid(
                f"the certificate registered for {hello.server} names {believed.server}"
            )
        self._statuses.watch(certificate, believed.issuer)  # 4
        self._statuses.believe(certificate, hello.ocsp_response)
        self._statuses.status(certificate)
        return Peer(hello.server, certificate)

    def _registered(self, server: SecurityServerId, thumbprint: bytes) -> Certificate:
        registered = self._configuration.current().server(server)
        for certificate in registered.authentication_certificates:
            if certificate.thumbprint == thumbprint:
                return certificate
        raise CertificateUnknown(
            f"no such authentication certificate is registered for {server}; "
            "register it and have the registry's operator approve it"
        )
