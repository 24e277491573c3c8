"""This server's end of mutual TLS: its key, its certificate, and who is let in.

TLS 1.3 only: the process starts with a cipher list that TLS 1.2 cannot use with ECDSA
certificates (`tls_version`), and each stream's version is looked at again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from messaging.signers import Configured, authorities
from trust.certificates import Certificate, parse_certificate
from trust.global_configuration import GlobalConfiguration
from vocabulary.faults import CertificateInvalid, Fault, PeerMismatch

TLS_VERSION: Final = "TLSv1.3"


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """The authentication key and certificate, PEM."""

    key: bytes
    certificate: bytes

    def channel_credentials(
        self, pinned: Sequence[Certificate]
    ) -> grpc.ChannelCredentials:
        """Believe only exactly these certificates at the other end."""
        return grpc.ssl_channel_credentials(_pem(pinned), self.key, self.certificate)

    def server_credentials(
        self, configuration: Configured, *, first: GlobalConfiguration
    ) -> grpc.ServerCredentials:
        """Let in whoever holds a certificate of an approved CA; Hello sees to the rest.

        The approved CAs are those of `first`, then of the configuration at each new
        connection.
        """

        def letting_in(
            configured: GlobalConfiguration,
        ) -> grpc.ServerCertificateConfiguration:
            roots = _pem(authorities(configured))
            return grpc.ssl_server_certificate_configuration(
                [(self.key, self.certificate)], roots
            )

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            try:
                return letting_in(configuration.current())
            except Fault:
                # Hello is refused while there is no valid configuration.
                return None

        return grpc.dynamic_ssl_server_credentials(
            letting_in(first), cast("Any", fetch), require_client_authentication=True
        )


def caller_certificate(
    auth_context: Mapping[str, Sequence[bytes]],
) -> Certificate:
    """Give the certificate that a caller has shown; PeerMismatch without TLS 1.3."""
    (version,) = auth_context.get("ssl_tls_version", (b"none",))
    if version.decode() != TLS_VERSION:
        raise PeerMismatch(
            f"{version.decode()} was spoken; only {TLS_VERSION} is taken"
        )
    (pem,) = auth_context["x509_pem_cert"]
    try:
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except ValueError as error:
        raise CertificateInvalid(f"certificate shown in TLS: {error}") from error
    return parse_certificate(der)


def _pem(certificates: Sequence[Certificate]) -> bytes:
    return b"".join(each.x509.public_bytes(Encoding.PEM) for each in certificates)
