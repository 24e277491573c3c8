"""The four signature algorithms, and the wider set that foreign authorities may use.

Which algorithm applies follows from the key in a certificate, never from a message: a
sender cannot choose a weaker one.

Ed25519 is not among them: the X.509 path validation of `cryptography` refuses it, and
every key here has to sit in a certificate that can be verified.
"""

from enum import IntEnum
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA65PrivateKey,
    MLDSA65PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import (
    generate_private_key as generate_rsa_key,
)
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.hashes import (
    SHA256,
    SHA384,
    SHA512,
    HashAlgorithm,
)

from vocabulary.faults import CertificateInvalid, SignatureInvalid

PrivateKey: TypeAlias = EllipticCurvePrivateKey | RSAPrivateKey | MLDSA65PrivateKey
PublicKey: TypeAlias = EllipticCurvePublicKey | RSAPublicKey | MLDSA65PublicKey

_ECDSA_SHA256 = ECDSA(SHA256())
_ECDSA_SHA384 = ECDSA(SHA384())
# RFC 8017 §9.1: the salt is as long as the digest, and no other length is taken.
_PSS_SHA256 = PSS(MGF1(SHA256()), PSS.DIGEST_LENGTH)
_RSA_BITS = 3072
_RSA_EXPONENT = 65537
_FOREIGN_EC_BITS = 256
_FOREIGN_RSA_BITS = 2048
_STRONG_HASHES = (SHA256, SHA384, SHA512)


class Algorithm(IntEnum):
    """The number that stands for an algorithm in what is signed."""

    ECDSA_P256_SHA256 = 1
    ECDSA_P384_SHA384 = 2
    RSA_3072_PSS_SHA256 = 3
    ML_DSA_65 = 4


def supported_key(key: PublicKeyTypes) -> PublicKey:
    """Raise CertificateInvalid for a key of any other kind or size than the four."""
    match key:
        case EllipticCurvePublicKey(curve=SECP256R1() | SECP384R1()):
            return key
        case RSAPublicKey() if key.key_size == _RSA_BITS:
            return key
        case MLDSA65PublicKey():
            return key
        case _:
            raise CertificateInvalid(
                "a key of a kind that is not taken here; "
                "use ECDSA P-256 or P-384, RSA of 3072 bits, or ML-DSA-65"
            )


def algorithm_of(key: PublicKeyTypes) -> Algorithm:
    """Raise CertificateInvalid for a key of any other kind or size than the four."""
    match supported_key(key):
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return Algorithm.ECDSA_P256_SHA256
        case EllipticCurvePublicKey():
            return Algorithm.ECDSA_P384_SHA384
        case RSAPublicKey():
            return Algorithm.RSA_3072_PSS_SHA256
        case MLDSA65PublicKey():
            return Algorithm.ML_DSA_65


def generate_key(algorithm: Algorithm) -> PrivateKey:
    match algorithm:
        case Algorithm.ECDSA_P256_SHA256:
            return generate_private_key(SECP256R1())
        case Algorithm.ECDSA_P384_SHA384:
            return generate_private_key(SECP384R1())
        case Algorithm.RSA_3072_PSS_SHA256:
            return generate_rsa_key(_RSA_EXPONENT, _RSA_BITS)
        case Algorithm.ML_DSA_65:
            return MLDSA65PrivateKey.generate()


def sign(key: PrivateKey, data: bytes) -> bytes:
    match key:
        case EllipticCurvePrivateKey(curve=SECP384R1()):
            return key.sign(data, _ECDSA_SHA384)
        case EllipticCurvePrivateKey():
            return key.sign(data, _ECDSA_SHA256)
        case RSAPrivateKey():
            return key.sign(data, _PSS_SHA256, SHA256())
        case _:
            return key.sign(data)


def verify(
    key: PublicKeyTypes, algorithm: Algorithm, *, signature: bytes, data: bytes
) -> None:
    """Raise SignatureInvalid unless `key` has signed `data` in the way of its kind."""
    try:
        match algorithm, key:
            case (
                Algorithm.ECDSA_P256_SHA256,
                EllipticCurvePublicKey(curve=SECP256R1()),
            ):
                key.verify(signature, data, _ECDSA_SHA256)
            case (
                Algorithm.ECDSA_P384_SHA384,
                EllipticCurvePublicKey(curve=SECP384R1()),
            ):
                key.verify(signature, data, _ECDSA_SHA384)
            case Algorithm.RSA_3072_PSS_SHA256, RSAPublicKey(key_size=3072):
                key.verify(signature, data, _PSS_SHA256, SHA256())
            case Algorithm.ML_DSA_65, MLDSA65PublicKey():
                key.verify(signature, data)
            case _:
                raise SignatureInvalid(
                    f"signed with a key that is not {algorithm.name}"
                )
    except InvalidSignature as error:
        raise SignatureInvalid(
            "the signature is not one of this certificate's key over these bytes"
        ) from error


def verify_foreign(
    key: PublicKeyTypes,
    digest: HashAlgorithm | None,
    *,
    signature: bytes,
    data: bytes,
) -> None:
    """Judge a signature of an authority that chose its own key and SHA-2 hash.

    OCSP responders and time-stamping authorities are not bound to our four algorithms:
    ECDSA from 256 bits, RSA PKCS #1 v1.5 from 2048 bits (NIST SP 800-131A), ML-DSA-65.
    Raises SignatureInvalid.
    """
    if isinstance(key, MLDSA65PublicKey):
        return verify(key, Algorithm.ML_DSA_65, signature=signature, data=data)
    if not isinstance(digest, _STRONG_HASHES):
        raise SignatureInvalid("signed over a digest weaker than SHA-256")
    try:
        match key:
            case EllipticCurvePublicKey() if key.key_size >= _FOREIGN_EC_BITS:
                key.verify(signature, data, ECDSA(digest))
            case RSAPublicKey() if key.key_size >= _FOREIGN_RSA_BITS:
                key.verify(signature, data, PKCS1v15(), digest)
            case _:
                raise SignatureInvalid("signed with a key too weak or of another kind")
    except InvalidSignature as error:
        raise SignatureInvalid("the authority's signature does not hold") from error
    return None
