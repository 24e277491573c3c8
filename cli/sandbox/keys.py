"""A security server's keys, and the certificates that the sandbox's CA issues for them.

A key is never replaced: what it signed could then no longer be continued. A start that
was cut off goes on with the keys that it left.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cli.connection import ask
from cli.sandbox.agencies import Agency
from ledger.checkpoint import LogKey
from messaging.wire.identifiers import member_to_pb, server_to_pb
from protos.v1.trust_services_pb2 import IssueCertificateRequest
from protos.v1.trust_services_pb2_grpc import CertificationAuthorityServiceStub
from trust.keys import SoftwareKey
from vocabulary.durable import replace_file

_AUTHORITY = "the sandbox's certification authority"

Message = TypeVar("Message")


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What the central registry is told of a server's keys."""

    # DER.
    authentication_certificate: bytes
    # C2SP verifier key.
    checkpoint_key: str


def equip(
    authority: CertificationAuthorityServiceStub, agency: Agency, directory: Path
) -> ServerKeys:
    """Give a server its keys and certificates, as far as it has none."""
    signing = _key(directory / "signing.key")
    if not (directory / "signing.pem").exists():
        request = IssueCertificateRequest(
            member=member_to_pb(agency.member),
            signing_request=signing.signing_request(agency.name),
            name=agency.name,
        )
        _save(authority, request, directory / "signing.pem")
    authentication = _key(directory / "authentication.key")
    if not (directory / "authentication.pem").exists():
        name = f"{agency.name} ({agency.server.code})"
        request = IssueCertificateRequest(
            server=server_to_pb(agency.server),
            signing_request=authentication.signing_request(name),
            name=name,
        )
        _save(authority, request, directory / "authentication.pem")
    pem = (directory / "authentication.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    log_key = _log_key(directory / "checkpoint.key", agency)
    return ServerKeys(certificate.public_bytes(Encoding.DER), log_key.vkey)


def _key(path: Path) -> SoftwareKey:
    if not path.exists():
        SoftwareKey.generate().save(path)
    return SoftwareKey.load(path)


def _log_key(path: Path, agency: Agency) -> LogKey:
    if not path.exists():
        LogKey.generate(f"{agency.server}/log").save(path)
    return LogKey.load(path)


def _save(
    authority: CertificationAuthorityServiceStub,
    request: IssueCertificateRequest,
    path: Path,
) -> None:
    answer = ask(authority.IssueCertificate, request, of=_AUTHORITY)
    certificate = x509.load_der_x509_certificate(answer.certificate)
    replace_file(path, certificate.public_bytes(Encoding.PEM), mode=0o644)
