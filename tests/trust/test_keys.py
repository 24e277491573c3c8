"""Keys of the four kinds, and files that hold them."""

import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    SECP521R1,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import (
    generate_private_key as generate_rsa_key,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from trust.algorithms import Algorithm, algorithm_of, verify
from trust.keys import SoftwareKey
from vocabulary.faults import CertificateInvalid, SignatureInvalid

DATA = b"a batch"


@pytest.fixture(scope="module", params=Algorithm)
def key(request):
    return SoftwareKey.generate(request.param)


def test_what_a_key_signs_is_verified_in_the_way_of_its_kind(key):
    signature = key.sign(DATA)
    assert algorithm_of(key.public_key) is key.algorithm
    verify(key.public_key, key.algorithm, signature=signature, data=DATA)
    with pytest.raises(SignatureInvalid):
        verify(key.public_key, key.algorithm, signature=signature, data=DATA + b".")
    changed = bytes([*signature[:-1], signature[-1] ^ 1])
    with pytest.raises(SignatureInvalid):
        verify(key.public_key, key.algorithm, signature=changed, data=DATA)
    for junk in (b"", b"\0" * len(signature)):
        with pytest.raises(SignatureInvalid):
            verify(key.public_key, key.algorithm, signature=junk, data=DATA)


def test_a_key_is_kept_for_this_user_alone(key, tmp_path):
    path = tmp_path / "member.key"
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    again = SoftwareKey.load(path)
    assert again.algorithm is key.algorithm
    assert again.public_key_info == key.public_key_info
    verify(key.public_key, key.algorithm, signature=again.sign(DATA), data=DATA)


def test_a_key_never_replaces_another(key, tmp_path):
    path = tmp_path / "member.key"
    key.save(path)
    with pytest.raises(FileExistsError):
        SoftwareKey.generate().save(path)
    assert SoftwareKey.load(path).public_key_info == key.public_key_info


def test_a_request_proves_possession(key):
    request = x509.load_der_x509_csr(key.signing_request("The tax board"))
    assert request.is_signature_valid
    assert request.public_key() == key.public_key
    assert request.subject.rfc4514_string() == "CN=The tax board"


OTHER_KEYS = {
    "Ed25519": Ed25519PrivateKey.generate,
    "P-521": lambda: generate_private_key(SECP521R1()),
    "secp256k1": lambda: generate_private_key(SECP256K1()),
    "RSA-2048": lambda: generate_rsa_key(65537, 2048),
    "ML-DSA-44": MLDSA44PrivateKey.generate,
}


@pytest.mark.parametrize("kind", OTHER_KEYS)
def test_a_key_of_another_kind_is_refused(kind, tmp_path):
    other = OTHER_KEYS[kind]()
    with pytest.raises(CertificateInvalid, match="kind"):
        algorithm_of(other.public_key())
    for algorithm in Algorithm:
        with pytest.raises(SignatureInvalid, match=f"not {algorithm.name}"):
            verify(other.public_key(), algorithm, signature=b"", data=b"")
    path = tmp_path / "other.key"
    path.write_bytes(
        other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    with pytest.raises(ValueError, match=str(path)):
        SoftwareKey.load(path)


def test_a_file_without_a_key_is_refused_by_name(tmp_path):
    path = tmp_path / "some.key"
    locked = SoftwareKey.generate().private_key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    for content in (b"", b"no key", locked):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=str(path)):
            SoftwareKey.load(path)
    with pytest.raises(FileNotFoundError):
        SoftwareKey.load(tmp_path / "missing.key")


def test_a_key_of_one_kind_says_nothing_for_another(key):
    for other in map(SoftwareKey.generate, Algorithm):
        with pytest.raises(SignatureInvalid):
            verify(
                other.public_key,
                other.algorithm,
                signature=key.sign(DATA),
                data=DATA,
            )
