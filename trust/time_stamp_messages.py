"""What crosses the wire in RFC 3161, as ASN.1; nothing here judges it.

Only the forms that a time-stamp token may take are declared. What a token has no use
for, such as revocation lists or unsigned attributes, is absent and so cannot be
decoded: nothing in a token is both accepted and covered by no signature.
"""

from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.x509 import ObjectIdentifier

SIGNED_DATA = ObjectIdentifier("1.2.840.113549.1.7.2")
TST_INFO = ObjectIdentifier("1.2.840.113549.1.9.16.1.4")
CONTENT_TYPE = ObjectIdentifier("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = ObjectIdentifier("1.2.840.113549.1.9.4")
# RFC 5816; the first version names the certificate by SHA-1 and is not taken.
SIGNING_CERTIFICATE_V2 = ObjectIdentifier("1.2.840.113549.1.9.16.2.47")

SHA256_ID = ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_SHA384_ID = ObjectIdentifier("2.16.840.1.101.3.4.2.2")
_SHA512_ID = ObjectIdentifier("2.16.840.1.101.3.4.2.3")
DIGESTS: dict[ObjectIdentifier, SHA256 | SHA384 | SHA512] = {
    SHA256_ID: SHA256(),
    _SHA384_ID: SHA384(),
    _SHA512_ID: SHA512(),
}
ECDSA_WITH_SHA256 = ObjectIdentifier("1.2.840.10045.4.3.2")
# The digest that each signature algorithm goes with.
SIGNATURES: dict[ObjectIdentifier, ObjectIdentifier] = {
    ECDSA_WITH_SHA256: SHA256_ID,
    ObjectIdentifier("1.2.840.10045.4.3.3"): _SHA384_ID,
    ObjectIdentifier("1.2.840.10045.4.3.4"): _SHA512_ID,
    ObjectIdentifier("1.2.840.113549.1.1.11"): SHA256_ID,
    ObjectIdentifier("1.2.840.113549.1.1.12"): _SHA384_ID,
    ObjectIdentifier("1.2.840.113549.1.1.13"): _SHA512_ID,
}
# Leaves the digest to the digest algorithm beside it (RFC 5754 §3.2).
RSA_ENCRYPTION = ObjectIdentifier("1.2.840.113549.1.1.1")


@asn1.sequence
class AlgorithmIdentifier:
    algorithm: ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class Extension:
    id: ObjectIdentifier
    critical: Annotated[bool, asn1.Default(value=False)]
    value: bytes


@asn1.sequence
class MessageImprint:
    hash_algorithm: AlgorithmIdentifier
    hashed_message: bytes


@asn1.sequence
class TimeStampRequest:
    """RFC 3161 §2.4.1."""

    version: int
    message_imprint: MessageImprint
    policy: ObjectIdentifier | None
    nonce: int | None
    certificate_wanted: Annotated[bool, asn1.Default(value=False)]
    extensions: Annotated[list[Extension] | None, asn1.Implicit(0)]


@asn1.sequence
class Accuracy:
    seconds: int | None
    milliseconds: Annotated[int | None, asn1.Implicit(0)]
    microseconds: Annotated[int | None, asn1.Implicit(1)]


@asn1.sequence
class TstInfo:
    """RFC 3161 §2.4.2: what a token says."""

    version: int
    policy: ObjectIdentifier
    message_imprint: MessageImprint
    serial_number: int
    time: asn1.GeneralizedTime
    accuracy: Accuracy | None
    ordering: Annotated[bool, asn1.Default(value=False)]
    nonce: int | None
    # An explicit GeneralName: a list of exactly one is the same encoding.
    authority: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    extensions: Annotated[list[Extension] | None, asn1.Implicit(1)]


@asn1.sequence
class IssuerSerial:
    # GeneralNames.
    issuer: asn1.TLV
    serial_number: int


@asn1.sequence
class CertificateIdV2:
    """ESSCertIDv2; SHA-256 when no hash algorithm is named."""

    hash_algorithm: AlgorithmIdentifier | None
    hash: bytes
    issuer_serial: IssuerSerial | None


@asn1.sequence
class SigningCertificateV2:
    certificates: list[CertificateIdV2]
    policies: list[asn1.TLV] | None


@asn1.sequence
class Attribute:
    type: ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class IssuerAndSerialNumber:
    # Name.
    issuer: asn1.TLV
    serial_number: int


@asn1.sequence
class SignerInfo:
    """RFC 5652 §5.3."""

    version: int
    signer: IssuerAndSerialNumber | Annotated[bytes, asn1.Implicit(0)]
    digest_algorithm: AlgorithmIdentifier
    signed_attributes: Annotated[asn1.SetOf[Attribute], asn1.Implicit(0)]
    signature_algorithm: AlgorithmIdentifier
    signature: bytes


@asn1.sequence
class EncapsulatedContent:
    type: ObjectIdentifier
    content: Annotated[bytes, asn1.Explicit(0)]


@asn1.sequence
class SignedData:
    """RFC 5652 §5.1."""

    version: int
    digest_algorithms: asn1.SetOf[AlgorithmIdentifier]
    content: EncapsulatedContent
    certificates: Annotated[asn1.SetOf[x509.Certificate] | None, asn1.Implicit(0)]
    signers: asn1.SetOf[SignerInfo]


@asn1.sequence
class TimeStampToken:
    type: ObjectIdentifier
    content: Annotated[SignedData, asn1.Explicit(0)]


@asn1.sequence
class StatusInfo:
    """PKIStatusInfo (RFC 3161 §2.4.2)."""

    status: int
    text: list[str] | None
    failure: asn1.BitString | None


@asn1.sequence
class TimeStampResponse:
    status: StatusInfo
    token: TimeStampToken | None


def attribute(kind: ObjectIdentifier, value: object) -> Attribute:
    """Give an attribute with one value."""
    tlv = asn1.decode_der(asn1.TLV, asn1.encode_der(value))
    return Attribute(type=kind, values=asn1.SetOf([tlv]))


def to_be_signed(attributes: asn1.SetOf[Attribute]) -> bytes:
    """Encode as a SET OF, not with the tag they travel under (RFC 5652 §5.4)."""
    return asn1.encode_der(attributes)
