"""What the responder and the time-stamping authority answer to bad requests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier, ocsp

from tests.pki import Pki
from tests.trust_services.oracles import openssl, write_pem
from trust.certificates import parse_certificate
from trust.keys import SoftwareKey
from trust.ocsp import build_request
from trust.time_stamp_messages import (
    AlgorithmIdentifier,
    Extension,
    TimeStampRequest,
    TimeStampResponse,
    TstInfo,
)
from trust.timestamps import build_request as build_time_stamp_request
from trust_services.ocsp_responder import OcspResponder
from trust_services.time_stamping import POLICY
from vocabulary.identifiers import MemberId
from vocabulary.imprint import Imprint

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TAX = MemberId.parse("EE-SANDBOX/GOV/70000349")
PKI = Pki(lambda: AT)
ISSUED = PKI.ca.issue(SoftwareKey.generate().signing_request("X"), TAX, "Tax")
CERTIFICATE = parse_certificate(ISSUED.der)
VALIDITY = timedelta(minutes=10)


async def answer(question, issued=ISSUED):
    async def find(serial):
        return issued if issued and serial == issued.serial else None

    responder = OcspResponder(
        PKI.delegate_key,
        PKI.delegate,
        issuer=PKI.authority,
        find=find,
        validity=VALIDITY,
        clock=PKI.clock,
    )
    return ocsp.load_der_ocsp_response(await responder.answer(question))


def question(nonce=None, issuer=PKI.authority):
    return build_request(CERTIFICATE, issuer, nonce)


async def test_an_issued_certificate_is_good():
    response = await answer(question())
    assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert response.this_update_utc == AT
    assert response.next_update_utc == AT + VALIDITY
    assert not list(response.extensions)


async def test_a_revoked_certificate_is_revoked_since_then():
    response = await answer(question(), replace(ISSUED, revoked_at=AT - VALIDITY))
    assert response.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert response.revocation_time_utc == AT - VALIDITY


async def test_what_was_never_issued_is_unknown():
    response = await answer(question(), None)
    assert response.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


async def test_the_same_serial_of_another_authority_is_unknown():
    other = Pki(lambda: AT)
    response = await answer(question(issuer=other.authority))
    assert response.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


@pytest.mark.parametrize("digest", [SHA1, SHA256])
async def test_it_answers_under_the_digest_it_was_asked_under(digest):
    request = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(CERTIFICATE.x509, PKI.authority.x509, digest())
        .build()
    )
    response = await answer(request.public_bytes(Encoding.DER))
    assert isinstance(response.hash_algorithm, digest)
    assert response.certificate_status is ocsp.OCSPCertStatus.GOOD


@pytest.mark.parametrize("nonce", [b"n", b"n" * 32, b"n" * 128])
async def test_a_nonce_comes_back(nonce):
    extensions = (await answer(question(nonce))).extensions
    assert extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce


@pytest.mark.parametrize("nonce", [b"", b"n" * 129])
async def test_a_nonce_of_a_length_that_none_has_is_malformed(nonce):
    response = await answer(question(nonce))
    assert response.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("junk", [b"", b"0", question() + b"\0", question()[:-1]])
async def test_what_is_no_request_is_malformed(junk):
    response = await answer(junk)
    assert response.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


async def test_two_questions_at_once_are_malformed(tmp_path):
    leaf = write_pem(tmp_path / "leaf.pem", CERTIFICATE)
    ca = write_pem(tmp_path / "ca.pem", PKI.authority)
    ask = ("ocsp", "-issuer", ca, "-cert", leaf, "-cert", ca, "-reqout", "request")
    assert openssl(*ask, cwd=tmp_path)[0] == 0
    response = await answer((tmp_path / "request").read_bytes())
    assert response.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


# Time-stamps.

IMPRINT = Imprint.of(b"a checkpoint")


def request(change=lambda parsed: None):
    parsed = asn1.decode_der(TimeStampRequest, build_time_stamp_request(IMPRINT, 7))
    change(parsed)
    return asn1.encode_der(parsed)


def stamped(der):
    return asn1.decode_der(TimeStampResponse, PKI.tsa.answer(der))


def with_version_2(parsed):
    parsed.version = 2


def with_sha1(parsed):
    sha1 = ObjectIdentifier("1.3.14.3.2.26")
    parsed.message_imprint.hash_algorithm = AlgorithmIdentifier(
        algorithm=sha1, parameters=None
    )


def with_a_short_imprint(parsed):
    parsed.message_imprint.hashed_message = b"\0" * 31


def with_another_policy(parsed):
    parsed.policy = ObjectIdentifier("1.2.3.4")


def with_an_extension(parsed):
    kind = ObjectIdentifier("1.2.3.4")
    parsed.extensions = [Extension(id=kind, critical=False, value=b"")]


# The bits of PKIFailureInfo as RFC 3161 §2.4.2 numbers them.
REFUSALS = {
    with_version_2: 2,
    with_sha1: 0,
    with_a_short_imprint: 5,
    with_another_policy: 15,
    with_an_extension: 16,
}


@pytest.mark.parametrize("change", REFUSALS)
def test_a_bad_request_gets_no_token_but_a_reason(change):
    response = stamped(request(change))
    assert (response.status.status, response.token) == (2, None)
    assert response.status.text
    failure = response.status.failure
    octets, unused = failure.as_bytes(), failure.padding_bits()
    number = int.from_bytes(octets, "big") >> unused
    assert (number, len(octets) * 8 - unused - 1) == (1, REFUSALS[change])


@pytest.mark.parametrize("junk", [b"", b"0", request() + b"\0"])
def test_what_is_no_request_gets_no_token(junk):
    response = stamped(junk)
    assert (response.status.status, response.token) == (2, None)


def test_openssl_reads_the_reason(tmp_path):
    (tmp_path / "r").write_bytes(PKI.tsa.answer(request(with_another_policy)))
    status, output = openssl("ts", "-reply", "-in", "r", "-text", cwd=tmp_path)
    assert status == 0
    assert "Status: Rejected." in output
    assert f"the only policy is {POLICY.dotted_string}" in output
    assert "Failure info: the requested TSA policy is not supported" in output


def test_a_token_repeats_what_was_asked():
    def with_our_policy(parsed):
        parsed.policy = POLICY
        parsed.certificate_wanted = False

    response = stamped(request(with_our_policy))
    info = asn1.decode_der(TstInfo, response.token.content.content.content)
    assert (info.nonce, info.policy) == (7, POLICY)
    assert info.message_imprint.hashed_message == IMPRINT.digest
    assert response.token.content.certificates is None
    assert response.status.status == 0


def test_no_two_tokens_have_one_serial_number():
    serials = set()
    for _ in range(50):
        token = stamped(request()).token
        info = asn1.decode_der(TstInfo, token.content.content.content)
        serials.add(info.serial_number)
    assert len(serials) == 50
