"""Certificate status: OCSP as RFC 6960 and RFC 9654 have it.

A response is believed when each of these holds, judged in this order:

1. it parses and its responder says that it was successful;
2. it is signed by the certificate's issuer, or by a delegate that this very issuer has
   issued for OCSP signing and that is valid at the time asked about;
3. one of its answers is about this serial number of this issuer;
4. that answer is not from the future;
5. it says neither revoked nor unknown;
6. it is fresh: no older than the freshness allows, nor past its own next update.

A delegate's own revocation is not asked for (RFC 6960 §4.2.2.2.1 leaves it to the
authority): delegates are few and short-lived.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_bytes

import httpx2
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from trust import inquiry
from trust.algorithms import verify_foreign
from trust.certificates import Certificate, require_whole_octets, strict_parsing
from vocabulary.faults import (
    CertificateInvalid,
    CertificateRevoked,
    CertificateStatusUnknown,
    SignatureInvalid,
)
from vocabulary.imprint import Imprint

CLOCK_SKEW = timedelta(seconds=60)
MEDIA = inquiry.MediaTypes("application/ocsp-request", "application/ocsp-response")
# RFC 9654 §2.1: at least 32 octets.
NONCE_OCTETS = 32


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """Proof that a certificate was good, and until when that may be relied on."""

    certificate: Imprint
    response: Imprint
    der: bytes
    this_update: datetime
    fresh_until: datetime


def build_request(
    certificate: Certificate, issuer: Certificate, nonce: bytes | None = None
) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        certificate.x509, issuer.x509, SHA256()
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


async def fetch(
    client: httpx2.AsyncClient,
    url: str,
    *,
    certificate: Certificate,
    issuer: Certificate,
) -> bytes:
    """Give a response that is yet to be verified; raises CertificateStatusUnknown.

    A responder may leave the nonce out (RFC 9654 §3), but not answer another's.
    """
    nonce = token_bytes(NONCE_OCTETS)
    question = build_request(certificate, issuer, nonce)
    try:
        answer = await inquiry.ask(client, url, question=question, media=MEDIA)
    except inquiry.NoAnswer as error:
        raise CertificateStatusUnknown(f"no certificate status: {error}") from error
    if _nonce(_parse(answer)) not in (None, nonce):
        raise CertificateStatusUnknown(f"{url} answered another request than ours")
    return answer


def verify_response(
    response: bytes,
    *,
    certificate: Certificate,
    issuer: Certificate,
    at: datetime,
    freshness: timedelta,
) -> CertificateStatus:
    """Raise CertificateRevoked or CertificateStatusUnknown unless it says good.

    `issuer` is the one that the certificate's path was verified with.
    """
    if certificate.x509.issuer != issuer.x509.subject:
        raise ValueError("asked about a certificate with another than its issuer")
    answer = _believed_answer(response, certificate, issuer, at)
    if answer.this_update_utc > at + CLOCK_SKEW:
        raise CertificateStatusUnknown(
            f"the OCSP response for {certificate.subject} is of "
            f"{answer.this_update_utc}, in the future at {at}; check the clocks"
        )
    match answer.certificate_status:
        case ocsp.OCSPCertStatus.GOOD:
            pass
        case ocsp.OCSPCertStatus.REVOKED:
            raise CertificateRevoked(
                f"{certificate.subject} was revoked at {answer.revocation_time_utc}; "
                "have a new certificate issued and registered"
            )
        case _:
            raise CertificateStatusUnknown(
                f"its authority does not know the certificate of {certificate.subject}"
            )
    fresh_until = answer.this_update_utc + freshness
    if answer.next_update_utc is not None:
        fresh_until = min(fresh_until, answer.next_update_utc)
    if at > fresh_until:
        raise CertificateStatusUnknown(
            f"the OCSP response for {certificate.subject} is stale since "
            f"{fresh_until}; see that the OCSP responder can be reached"
        )
    return CertificateStatus(
        certificate.imprint,
        Imprint.of(response),
        response,
        answer.this_update_utc,
        fresh_until,
    )


def _parse(response: bytes) -> ocsp.OCSPResponse:
    if len(response) > inquiry.ANSWER_LIMIT:
        raise _unusable(f"more than {inquiry.ANSWER_LIMIT} octets")
    try:
        with strict_parsing():
            parsed = ocsp.load_der_ocsp_response(response)
    except ValueError as error:
        raise _unusable(str(error)) from error
    if parsed.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise _unusable(f"the responder says {parsed.response_status.name}")
    return parsed


def _nonce(response: ocsp.OCSPResponse) -> bytes | None:
    try:
        return response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension) as error:
        raise _unusable(str(error)) from error


def _believed_answer(
    response: bytes, certificate: Certificate, issuer: Certificate, at: datetime
) -> ocsp.OCSPSingleResponse:
    parsed = _parse(response)
    try:
        require_whole_octets(parsed.signature, within=response)
        responder = _responder(parsed, issuer, at)
        verify_foreign(
            responder.public_key,
            parsed.signature_hash_algorithm,
            signature=parsed.signature,
            data=parsed.tbs_response_bytes,
        )
        _refuse_unknown_demands(parsed)
        return _answer(parsed, certificate, issuer)
    except (SignatureInvalid, CertificateInvalid) as error:
        raise _unusable(error.detail) from error
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise _unusable(str(error)) from error


def _refuse_unknown_demands(response: ocsp.OCSPResponse) -> None:
    for extension in response.extensions:
        if extension.critical and isinstance(
            extension.value, x509.UnrecognizedExtension
        ):
            raise _unusable(f"it demands {extension.oid.dotted_string}, unknown here")


def _responder(
    response: ocsp.OCSPResponse, issuer: Certificate, at: datetime
) -> Certificate:
    if _is_named(issuer.x509, response):
        return issuer
    with strict_parsing():
        included = response.certificates
    delegate = next((each for each in included if _is_named(each, response)), None)
    if delegate is None:
        raise CertificateInvalid(
            "signed by neither the certificate's issuer nor a delegate it includes"
        )
    return _verified_delegate(Certificate.of(delegate), issuer, at)


def _verified_delegate(
    delegate: Certificate, issuer: Certificate, at: datetime
) -> Certificate:
    """RFC 6960 §4.2.2.2: issued for this by the issuer itself, not by one above it."""
    certificate = delegate.x509
    try:
        certificate.verify_directly_issued_by(issuer.x509)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise CertificateInvalid(
            "its delegate was not issued by the certificate's issuer"
        ) from error
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise CertificateInvalid(f"its delegate's certificate is not valid at {at}")
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound as error:
        raise CertificateInvalid("its delegate may not sign OCSP responses") from error
    if ExtendedKeyUsageOID.OCSP_SIGNING not in purposes.value:
        raise CertificateInvalid("its delegate may not sign OCSP responses")
    return delegate


def _is_named(certificate: x509.Certificate, response: ocsp.OCSPResponse) -> bool:
    """Whether this is the responder that the response names, by name or by key."""
    if response.responder_name is not None:
        return certificate.subject == response.responder_name
    # RFC 6960 §4.2.1: KeyHash is SHA-1 of the public key; it names, it proves nothing.
    identifier = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return identifier.digest == response.responder_key_hash


def _answer(
    response: ocsp.OCSPResponse, certificate: Certificate, issuer: Certificate
) -> ocsp.OCSPSingleResponse:
    for answer in response.responses:
        # Any digest, SHA-1 too: it only names, and the serial number is compared.
        asked = (
            ocsp.OCSPRequestBuilder()
            .add_certificate(certificate.x509, issuer.x509, answer.hash_algorithm)
            .build()
        )
        if (
            answer.serial_number,
            answer.issuer_name_hash,
            answer.issuer_key_hash,
        ) == (asked.serial_number, asked.issuer_name_hash, asked.issuer_key_hash):
            return answer
    raise _unusable(f"it does not answer for {certificate.subject}")


def _unusable(reason: str) -> CertificateStatusUnknown:
    return CertificateStatusUnknown(
        f"an OCSP response that cannot be relied on: {reason}"
    )
