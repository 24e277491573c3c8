"""The services' keys and what is certified of them: made on the first start, then kept.

Files in the directory: `ca`, `ocsp` and `tsa`, each as `.key` (for this user alone) and
`.pem`. A start that was cut short is taken up where it ended.
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from trust.certificates import Certificate, parse_certificate
from trust.keys import SoftwareKey
from trust_services.authority import (
    CertificationAuthority,
    Usage,
    root_certificate,
)
from trust_services.store import Store
from vocabulary.clock import Clock
from vocabulary.durable import replace_file


@dataclass(frozen=True, slots=True)
class Holder:
    """One who signs, and the certificate that says so."""

    key: SoftwareKey
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Services:
    authority: CertificationAuthority
    responder: Holder
    time_stamping: Holder


def found(
    directory: Path, *, instance: str, ocsp_url: str, store: Store, clock: Clock
) -> Services:
    """Load what the directory holds, and make what it does not hold yet.

    Raises ValueError for files that do not belong together.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = _authority(directory, instance, clock)
    authority = CertificationAuthority(
        root.key,
        root.certificate,
        instance=instance,
        ocsp_url=ocsp_url,
        clock=clock,
    )
    return Services(
        authority,
        _service(directory / "ocsp", Usage.OCSP_SIGNING, authority, store),
        _service(directory / "tsa", Usage.TIME_STAMPING, authority, store),
    )


def _authority(directory: Path, instance: str, clock: Clock) -> Holder:
    path = directory / "ca"
    key = _key(path)
    certificate = _certificate(path, key)
    if certificate is None:
        certificate = root_certificate(key, instance=instance, at=clock())
        _keep(path, certificate)
    expected = root_certificate(key, instance=instance, at=clock()).subject
    if certificate.subject != expected:
        raise ValueError(
            f"{path}.pem is of {certificate.subject}, not of {expected}; "
            "give each instance a directory of its own"
        )
    return Holder(key, certificate)


def _service(
    path: Path, usage: Usage, authority: CertificationAuthority, store: Store
) -> Holder:
    key = _key(path)
    certificate = _certificate(path, key)
    if certificate is None:
        issued = authority.issue_for_service(key, usage)
        # Before the file: what is in use is known, and can be revoked.
        store.add(issued)
        certificate = parse_certificate(issued.der)
        _keep(path, certificate)
    try:
        certificate.x509.verify_directly_issued_by(authority.certificate.x509)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise ValueError(
            f"{path}.pem was not issued by ca.pem beside it; remove it for a new one"
        ) from error
    return Holder(key, certificate)


def _key(path: Path) -> SoftwareKey:
    file = path.with_suffix(".key")
    if not file.exists():
        SoftwareKey.generate().save(file)
    return SoftwareKey.load(file)


def _certificate(path: Path, key: SoftwareKey) -> Certificate | None:
    file = path.with_suffix(".pem")
    if not file.exists():
        return None
    try:
        parsed = x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file} holds no certificate: {error}") from error
    certificate = Certificate.of(parsed)
    if certificate.public_key != key.public_key:
        raise ValueError(f"{file} is not of the key beside it; remove it for a new one")
    return certificate


def _keep(path: Path, certificate: Certificate) -> None:
    pem = certificate.x509.public_bytes(Encoding.PEM)
    replace_file(path.with_suffix(".pem"), pem, mode=0o644)
