"""Tokens of foreign authorities: openssl, with keys and digests that are not ours."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.rsa import (
    generate_private_key as generate_rsa_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.foreign import program
from tests.trust.building import AT, DAY, Issuer
from trust.certificates import Certificate
from trust.time_stamp_messages import TimeStampRequest
from trust.timestamps import parse_response, verify_token
from vocabulary.faults import TimeStampInvalid
from vocabulary.imprint import Imprint

IMPRINT = Imprint.of(b"a checkpoint")
TIME_STAMPING = ExtendedKeyUsageOID.TIME_STAMPING


def verify(token, certificate):
    return verify_token(token, imprint=IMPRINT, authorities=[certificate])


def refused(token, why, certificate):
    with pytest.raises(TimeStampInvalid, match=why):
        verify(token, certificate)


CONFIGURATION = """
[tsa]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
certs = tsa.pem
signer_key = tsa.key
signer_digest = {digest}
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500, microsecs:100
clock_precision_digits = {digits}
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = {named_by}
"""
KEYS = {
    "RSA 2048": lambda: generate_rsa_key(65537, 2048),
    "RSA 3072": lambda: generate_rsa_key(65537, 3072),
    "P-256": lambda: generate_private_key(SECP256R1()),
    "P-384": lambda: generate_private_key(SECP384R1()),
    "P-521": lambda: generate_private_key(SECP521R1()),
}


@dataclass(frozen=True)
class Foreign:
    """openssl as an authority, which has the machine's clock."""

    directory: Path
    certificate: Certificate

    def token(self, *, digest="sha256", named_by="sha256", digits=0, chosen=("-cert",)):
        text = CONFIGURATION.format(digest=digest, named_by=named_by, digits=digits)
        (self.directory / "tsa.cnf").write_text(text)
        (self.directory / "serial").write_text("01")
        digested = ("-digest", IMPRINT.digest.hex(), "-sha256")
        self.openssl("ts", "-query", *digested, "-out", "query", *chosen)
        configured = ("-config", "tsa.cnf", "-section", "tsa")
        self.openssl("ts", "-reply", *configured, "-queryfile", "query", "-out", "r")
        answer = (self.directory / "r").read_bytes()
        query = (self.directory / "query").read_bytes()
        return parse_response(
            answer, nonce=asn1.decode_der(TimeStampRequest, query).nonce
        )

    def openssl(self, *arguments):
        subprocess.run(  # noqa: S603 - the arguments are this test's own
            [program("openssl", package="openssl"), *arguments],
            cwd=self.directory,
            check=True,
            capture_output=True,
            timeout=30,
        )


@pytest.fixture(scope="module", params=KEYS)
def foreign(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tsa")
    issuer = Issuer(not_before=AT - 9999 * DAY, not_after=AT + 9999 * DAY)
    key, certificate = issuer.delegate(
        TIME_STAMPING,
        key=KEYS[request.param](),
        not_before=AT - 9999 * DAY,
        not_after=AT + 9999 * DAY,
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "tsa.key").write_bytes(pem)
    pem = certificate.x509.public_bytes(Encoding.PEM)
    (directory / "tsa.pem").write_bytes(pem)
    return Foreign(directory, certificate)


@pytest.mark.parametrize("chosen", [("-cert",), ("-no_nonce",)])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_a_foreign_authority_is_believed(foreign, digest, chosen):
    token = foreign.token(digest=digest, chosen=chosen, digits=3)
    stamp = verify(token, foreign.certificate)
    assert stamp.authority == foreign.certificate.imprint
    other = Issuer().delegate(TIME_STAMPING)[1]
    refused(token, "no time-stamping authority", other)
    changed = token[:-1] + bytes([token[-1] ^ 1])
    refused(changed, "not signed by", foreign.certificate)


def test_a_foreign_authority_may_name_its_certificate_by_any_sha2(foreign):
    token = foreign.token(named_by="sha512")
    assert verify(token, foreign.certificate)


def test_a_foreign_authority_with_old_habits_is_refused(foreign):
    sha1 = foreign.token(digest="sha1")
    refused(sha1, "use SHA-2", foreign.certificate)
    by_sha1 = foreign.token(named_by="sha1")
    refused(by_sha1, "exactly once", foreign.certificate)
