"""A security server's keys and certificates, read from the files its settings name."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from messaging.signers import authorities
from security_server.assembly import ServerKeys
from security_server.peer_leg.tls import TlsIdentity
from security_server.settings import Settings
from trust.certificates import Certificate, parse_certificate
from trust.global_configuration import GlobalConfiguration
from trust.keys import SoftwareKey
from vocabulary.faults import CertificateInvalid


def load_keys(settings: Settings, configuration: GlobalConfiguration) -> ServerKeys:
    """Raise CertificateInvalid for a file that does not hold what its name says.

    A file of certificates starts with the server's own; its issuers may follow.
    """
    signing, *chain = _certificates(settings.signing_certificate)
    authentication, *_ = _certificates(settings.authentication_certificate)
    key = SoftwareKey.load(settings.signing_key)
    if key.public_key != signing.public_key:
        raise CertificateInvalid(
            f"{settings.signing_certificate} is not for {settings.signing_key}"
        )
    candidates = (*chain, *authorities(configuration))
    return ServerKeys(
        key,
        signing,
        tuple(chain),
        authentication,
        {
            each.thumbprint: _issuer(each, candidates)
            for each in (signing, authentication)
        },
        TlsIdentity(
            settings.authentication_key.read_bytes(),
            authentication.x509.public_bytes(Encoding.PEM),
        ),
    )


def _certificates(path: Path) -> list[Certificate]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as error:
        raise CertificateInvalid(f"{path} holds no certificate in PEM") from error
    return [parse_certificate(each.public_bytes(Encoding.DER)) for each in found]


def _issuer(
    certificate: Certificate, candidates: tuple[Certificate, ...]
) -> Certificate:
    for candidate in candidates:
        if candidate.x509.subject == certificate.x509.issuer:
            return candidate
    raise CertificateInvalid(
        f"no approved CA has issued the certificate of {certificate.subject}; have the "
        "registry's operator approve it, or have another certificate issued"
    )
