"""Time-stamps: RFC 3161 with RFC 5816, asked for and verified.

A token is believed when each of these holds, judged in this order:

1. it decodes as one SignedData (RFC 5652) with one signer over one TSTInfo;
2. the signer is one of the approved authorities' certificates, and if the token
   includes certificates, that very one is among them;
3. that certificate is for time-stamping alone, and says so critically;
4. the signed attributes name the content's type and digest, and that certificate;
5. the authority's key has signed these attributes;
6. it is about this imprint and no other;
7. its time is within the certificate's validity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import randbits
from typing import TypeVar

import httpx2
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.hashes import SHA256, Hash, HashAlgorithm
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from trust import inquiry
from trust.algorithms import verify_foreign
from trust.certificates import Certificate, strict_parsing
from trust.time_stamp_messages import (
    CONTENT_TYPE,
    DIGESTS,
    MESSAGE_DIGEST,
    RSA_ENCRYPTION,
    SHA256_ID,
    SIGNATURES,
    SIGNED_DATA,
    SIGNING_CERTIFICATE_V2,
    TST_INFO,
    AlgorithmIdentifier,
    Attribute,
    IssuerAndSerialNumber,
    MessageImprint,
    SignedData,
    SignerInfo,
    SigningCertificateV2,
    TimeStampRequest,
    TimeStampResponse,
    TimeStampToken,
    TstInfo,
    to_be_signed,
)
from vocabulary.faults import SignatureInvalid, TimeStampingFailed, TimeStampInvalid
from vocabulary.imprint import Imprint

MEDIA = inquiry.MediaTypes("application/timestamp-query", "application/timestamp-reply")
_NONCE_BITS = 64
# PKIStatus (RFC 3161 §2.4.2): granted, and granted with modifications.
_GRANTED = (0, 1)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """Proof that an authority has seen an imprint at a time."""

    token: bytes
    time: datetime
    serial: int
    # Of the authority's certificate.
    authority: Imprint


def build_request(imprint: Imprint, nonce: int | None = None) -> bytes:
    """Ask for a token that includes the authority's certificate."""
    algorithm = AlgorithmIdentifier(algorithm=SHA256_ID, parameters=None)
    return asn1.encode_der(
        TimeStampRequest(
            version=1,
            message_imprint=MessageImprint(
                hash_algorithm=algorithm, hashed_message=imprint.digest
            ),
            policy=None,
            nonce=nonce,
            certificate_wanted=True,
            extensions=None,
        )
    )


async def fetch(client: httpx2.AsyncClient, url: str, imprint: Imprint) -> bytes:
    """Give a token that is yet to be verified; raises TimeStampingFailed."""
    nonce = randbits(_NONCE_BITS)
    question = build_request(imprint, nonce)
    try:
        answer = await inquiry.ask(client, url, question=question, media=MEDIA)
        return parse_response(answer, nonce=nonce)
    except inquiry.NoAnswer as error:
        raise TimeStampingFailed(f"no time-stamp: {error}") from error
    except TimeStampInvalid as error:
        raise TimeStampingFailed(f"{url} gave no time-stamp: {error.detail}") from error


def parse_response(response: bytes, *, nonce: int | None) -> bytes:
    """Give the token of a granting response to the request with this nonce.

    Raises TimeStampInvalid.
    """
    parsed = _decode(TimeStampResponse, response, "a response of RFC 3161")
    if parsed.status.status not in _GRANTED or parsed.token is None:
        reasons = "; ".join(parsed.status.text or ["no reason given"])
        raise TimeStampInvalid(
            f"refused with status {parsed.status.status}: {reasons[:200]}"
        )
    said = _decode(TstInfo, parsed.token.content.content.content, "a TSTInfo")
    if said.nonce != nonce:
        raise TimeStampInvalid("it answers another request: the nonce differs")
    # DER has one encoding of a value, so these are the octets that came.
    return asn1.encode_der(parsed.token)


def verify_token(
    token: bytes, *, imprint: Imprint, authorities: Sequence[Certificate]
) -> TimeStamp:
    """Raise TimeStampInvalid unless an approved authority made it for `imprint`."""
    if len(token) > inquiry.ANSWER_LIMIT:
        raise TimeStampInvalid(f"a token of more than {inquiry.ANSWER_LIMIT} octets")
    parsed = _decode(TimeStampToken, token, "a time-stamp token")
    signer = _only_signer(parsed)
    authority = _signing_authority(parsed.content, signer, authorities)
    _verify_purpose(authority)
    content = parsed.content.content.content
    _verify_attributes(signer, content, authority)
    _verify_signature(signer, authority)
    said = _decode(TstInfo, content, "a TSTInfo")
    _verify_imprint(said, imprint)
    time = said.time.as_datetime()
    certificate = authority.x509
    if not certificate.not_valid_before_utc <= time <= certificate.not_valid_after_utc:
        raise TimeStampInvalid(
            f"its time {time} is outside the validity of {authority.subject}"
        )
    return TimeStamp(token, time, said.serial_number, authority.imprint)


def _decode(kind: type[_T], der: bytes, what: str) -> _T:
    try:
        with strict_parsing():
            return asn1.decode_der(kind, der)
    except ValueError as error:
        raise TimeStampInvalid(f"not {what}: {error}") from error


def _only_signer(token: TimeStampToken) -> SignerInfo:
    data = token.content
    if (token.type, data.content.type) != (SIGNED_DATA, TST_INFO):
        raise TimeStampInvalid("not a SignedData that holds a TSTInfo")
    signers = data.signers.as_list()
    if len(signers) != 1:
        raise TimeStampInvalid("not signed by exactly one authority")
    # RFC 5652 §5.1 and §5.3 leave no choice of these for what a token is.
    by_name = isinstance(signers[0].signer, IssuerAndSerialNumber)
    if (data.version, signers[0].version) != (3, 1 if by_name else 3):
        raise TimeStampInvalid("its version numbers do not fit what it holds")
    announced = [each.algorithm for each in data.digest_algorithms.as_list()]
    if announced != [signers[0].digest_algorithm.algorithm]:
        raise TimeStampInvalid("it announces another digest than its signer uses")
    return signers[0]


def _signing_authority(
    data: SignedData, signer: SignerInfo, authorities: Sequence[Certificate]
) -> Certificate:
    authority = next((each for each in authorities if _is_named(each, signer)), None)
    if authority is None:
        raise TimeStampInvalid(
            "made by no time-stamping authority of the global configuration"
        )
    included = data.certificates
    if included is not None and authority.x509 not in included.as_list():
        raise TimeStampInvalid(
            f"it includes another certificate than that of {authority.subject}"
        )
    return authority


def _is_named(authority: Certificate, signer: SignerInfo) -> bool:
    named, certificate = signer.signer, authority.x509
    if isinstance(named, IssuerAndSerialNumber):
        ours = IssuerAndSerialNumber(
            issuer=asn1.decode_der(asn1.TLV, certificate.issuer.public_bytes()),
            serial_number=certificate.serial_number,
        )
        return asn1.encode_der(named) == asn1.encode_der(ours)
    try:
        identifier = certificate.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        )
    except x509.ExtensionNotFound:
        return False
    return identifier.value.digest == named


def _verify_purpose(authority: Certificate) -> None:
    """RFC 3161 §2.3: one purpose, and critical."""
    try:
        usage = authority.x509.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound as error:
        raise _not_for_time_stamping(authority) from error
    if not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise _not_for_time_stamping(authority)


def _not_for_time_stamping(authority: Certificate) -> TimeStampInvalid:
    return TimeStampInvalid(
        f"the certificate of {authority.subject} is not for time-stamping alone"
    )


def _verify_attributes(
    signer: SignerInfo, content: bytes, authority: Certificate
) -> None:
    attributes = signer.signed_attributes.as_list()
    if _single(attributes, CONTENT_TYPE, ObjectIdentifier) != TST_INFO:
        raise TimeStampInvalid("its signed content type is not TSTInfo")
    digest = _digest(signer.digest_algorithm)
    if _single(attributes, MESSAGE_DIGEST, bytes) != _hash(digest, content):
        raise TimeStampInvalid("its content is not what was signed")
    named = _single(attributes, SIGNING_CERTIFICATE_V2, SigningCertificateV2)
    if not named.certificates:
        raise TimeStampInvalid("its signed attributes name no certificate")
    # RFC 5035 §3: the first is the signer's.
    first = named.certificates[0]
    digest = SHA256() if first.hash_algorithm is None else _digest(first.hash_algorithm)
    if first.hash != _hash(digest, authority.der):
        raise TimeStampInvalid(
            f"its signed attributes name another certificate than {authority.subject}"
        )


def _single(
    attributes: Sequence[Attribute], kind: ObjectIdentifier, value: type[_T]
) -> _T:
    found = [each.values.as_list() for each in attributes if each.type == kind]
    if len(found) != 1 or len(found[0]) != 1:
        raise TimeStampInvalid(
            f"it must have the signed attribute {kind.dotted_string} exactly once"
        )
    try:
        parsed: _T = found[0][0].parse(value)
    except ValueError as error:
        raise TimeStampInvalid(
            f"its signed attribute {kind.dotted_string} cannot be read: {error}"
        ) from error
    return parsed


def _verify_signature(signer: SignerInfo, authority: Certificate) -> None:
    algorithm = signer.signature_algorithm.algorithm
    digest = signer.digest_algorithm.algorithm
    if algorithm != RSA_ENCRYPTION and SIGNATURES.get(algorithm) != digest:
        raise TimeStampInvalid(
            f"signed with {algorithm.dotted_string}, which is not taken "
            f"with the digest {digest.dotted_string}"
        )
    try:
        verify_foreign(
            authority.public_key,
            _digest(signer.digest_algorithm),
            signature=signer.signature,
            data=to_be_signed(signer.signed_attributes),
        )
    except (SignatureInvalid, UnsupportedAlgorithm) as error:
        raise TimeStampInvalid(f"not signed by {authority.subject}: {error}") from error


def _verify_imprint(said: TstInfo, imprint: Imprint) -> None:
    if said.version != 1:
        raise TimeStampInvalid("a TSTInfo of another version than 1")
    about = said.message_imprint
    if (about.hash_algorithm.algorithm, about.hashed_message) != (
        SHA256_ID,
        imprint.digest,
    ):
        raise TimeStampInvalid("it is about another imprint")
    if any(extension.critical for extension in said.extensions or []):
        raise TimeStampInvalid("it has a critical extension that is unknown here")


def _digest(named: AlgorithmIdentifier) -> HashAlgorithm:
    try:
        return DIGESTS[named.algorithm]
    except KeyError:
        raise TimeStampInvalid(
            f"the digest {named.algorithm.dotted_string} is not taken; use SHA-2"
        ) from None


def _hash(digest: HashAlgorithm, data: bytes) -> bytes:
    hasher = Hash(digest)
    hasher.update(data)
    return hasher.finalize()
