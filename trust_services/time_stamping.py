"""The time-stamping authority: RFC 3161 with RFC 5816, tokens over SHA-2 imprints."""

import hashlib
from enum import IntEnum
from secrets import randbits

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from trust.certificates import Certificate
from trust.keys import SoftwareKey
from trust.time_stamp_messages import (
    CONTENT_TYPE,
    DIGESTS,
    ECDSA_WITH_SHA256,
    MESSAGE_DIGEST,
    SHA256_ID,
    SIGNED_DATA,
    SIGNING_CERTIFICATE_V2,
    TST_INFO,
    Accuracy,
    AlgorithmIdentifier,
    CertificateIdV2,
    EncapsulatedContent,
    IssuerAndSerialNumber,
    SignedData,
    SignerInfo,
    SigningCertificateV2,
    StatusInfo,
    TimeStampRequest,
    TimeStampResponse,
    TimeStampToken,
    TstInfo,
    attribute,
    to_be_signed,
)
from vocabulary.clock import Clock

# An identifier that nobody else can have made (X.667), for a policy that promises
# nothing: tokens of a sandbox.
POLICY = ObjectIdentifier("2.25.211236894538413437016432846262839042337")
_GRANTED, _REJECTION = 0, 2
_SERIAL_BITS = 128
_MILLISECOND_US = 1000
_SHA256 = AlgorithmIdentifier(algorithm=SHA256_ID, parameters=None)


class Failure(IntEnum):
    """PKIFailureInfo (RFC 3161 §2.4.2): the number of its bit."""

    BAD_ALGORITHM = 0
    BAD_REQUEST = 2
    BAD_DATA_FORMAT = 5
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16


class Rejected(Exception):
    """A request that gets no token."""

    def __init__(self, failure: Failure, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure


class TimeStampingAuthority:
    """Says when it saw an imprint. Its key is ECDSA P-256."""

    def __init__(
        self, key: SoftwareKey, certificate: Certificate, *, clock: Clock
    ) -> None:
        self.certificate = certificate
        self._key = key
        self._clock = clock

    def answer(self, question: bytes) -> bytes:
        """Give a response to anything; what gets no token is told why."""
        try:
            response = TimeStampResponse(
                status=StatusInfo(status=_GRANTED, text=None, failure=None),
                token=self._token(_accepted(question)),
            )
        except Rejected as error:
            status = StatusInfo(
                status=_REJECTION, text=[str(error)], failure=_bit(error.failure)
            )
            response = TimeStampResponse(status=status, token=None)
        return asn1.encode_der(response)

    def _token(self, request: TimeStampRequest) -> TimeStampToken:
        content = asn1.encode_der(self._info(request))
        certificates = asn1.SetOf([self.certificate.x509])
        data = SignedData(
            version=3,
            digest_algorithms=asn1.SetOf([_SHA256]),
            content=EncapsulatedContent(type=TST_INFO, content=content),
            certificates=certificates if request.certificate_wanted else None,
            signers=asn1.SetOf([self._signer(content)]),
        )
        return TimeStampToken(type=SIGNED_DATA, content=data)

    def _info(self, request: TimeStampRequest) -> TstInfo:
        now = self._clock()
        millisecond = now.microsecond // _MILLISECOND_US * _MILLISECOND_US
        return TstInfo(
            version=1,
            policy=POLICY,
            message_imprint=request.message_imprint,
            serial_number=randbits(_SERIAL_BITS) | 1,
            time=asn1.GeneralizedTime(now.replace(microsecond=millisecond)),
            accuracy=Accuracy(seconds=1, milliseconds=None, microseconds=None),
            ordering=False,
            nonce=request.nonce,
            authority=None,
            extensions=None,
        )

    def _signer(self, content: bytes) -> SignerInfo:
        certificate = self.certificate.x509
        named = CertificateIdV2(
            hash_algorithm=None,
            hash=self.certificate.thumbprint,
            issuer_serial=None,
        )
        attributes = asn1.SetOf(
            [
                attribute(CONTENT_TYPE, TST_INFO),
                attribute(MESSAGE_DIGEST, hashlib.sha256(content).digest()),
                attribute(
                    SIGNING_CERTIFICATE_V2,
                    SigningCertificateV2(certificates=[named], policies=None),
                ),
            ]
        )
        return SignerInfo(
            version=1,
            signer=IssuerAndSerialNumber(
                issuer=asn1.decode_der(asn1.TLV, certificate.issuer.public_bytes()),
                serial_number=certificate.serial_number,
            ),
            digest_algorithm=_SHA256,
            signed_attributes=attributes,
            signature_algorithm=AlgorithmIdentifier(
                algorithm=ECDSA_WITH_SHA256, parameters=None
            ),
            signature=self._key.sign(to_be_signed(attributes)),
        )


def _accepted(question: bytes) -> TimeStampRequest:
    try:
        request = asn1.decode_der(TimeStampRequest, question)
    except ValueError as error:
        raise Rejected(Failure.BAD_DATA_FORMAT, "not a TimeStampReq in DER") from error
    if request.version != 1:
        raise Rejected(Failure.BAD_REQUEST, "only version 1 is answered")
    imprint = request.message_imprint
    digest = DIGESTS.get(imprint.hash_algorithm.algorithm)
    if digest is None:
        raise Rejected(Failure.BAD_ALGORITHM, "only SHA-256, -384 and -512 are taken")
    if len(imprint.hashed_message) != digest.digest_size:
        raise Rejected(Failure.BAD_DATA_FORMAT, f"{digest.name} has another length")
    if request.policy not in (None, POLICY):
        raise Rejected(
            Failure.UNACCEPTED_POLICY, f"the only policy is {POLICY.dotted_string}"
        )
    if request.extensions:
        raise Rejected(Failure.UNACCEPTED_EXTENSION, "no extension is taken")
    return request


def _bit(failure: Failure) -> asn1.BitString:
    """Encode a named bit: no zeros behind it (X.690 §11.2.2)."""
    octets, bit = divmod(failure, 8)
    return asn1.BitString(bytes(octets) + bytes([0x80 >> bit]), 7 - bit)
