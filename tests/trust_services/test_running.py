"""The real protocols of a running instance, judged by those who know nothing of it."""

import base64
import os
import re
import stat
from datetime import timedelta
from urllib.parse import quote

import grpc
import httpx2
import pytest
from cryptography import x509
from rfc3161_client import TimestampRequestBuilder, VerifierBuilder
from rfc3161_client import decode_timestamp_response as decode

from messaging.transport import fault_of_status
from messaging.wire.identifiers import member_to_pb, server_to_pb
from protos.v1.trust_services_pb2 import (
    IssueCertificateRequest,
    ListCertificatesRequest,
    RevokeCertificateRequest,
)
from tests.trust_services.oracles import openssl, write_pem
from trust import ocsp, timestamps
from trust.certificates import (
    Algorithm,
    parse_certificate,
    verify_authentication_certificate,
    verify_signing_certificate,
)
from trust.keys import SoftwareKey
from vocabulary.clock import utc_now
from vocabulary.faults import (
    CertificateRevoked,
    CertificateStatusUnknown,
    CertificateUnknown,
    RegistrationInvalid,
    TimeStampingFailed,
)
from vocabulary.identifiers import MemberId, SecurityServerId
from vocabulary.imprint import Imprint

TAX = MemberId.parse("EE-SANDBOX/GOV/70000349")
SS1 = SecurityServerId(TAX, "ss1")
IMPRINT = Imprint.of(b"a checkpoint")
HOUR = timedelta(hours=1)


def issue(running, holder=TAX, algorithm=Algorithm.ECDSA_P256_SHA256):
    key = SoftwareKey.generate(algorithm)
    request = IssueCertificateRequest(
        signing_request=key.signing_request("ignored"), name="The tax board"
    )
    if isinstance(holder, MemberId):
        request.member.CopyFrom(member_to_pb(holder))
    else:
        request.server.CopyFrom(server_to_pb(holder))
    return parse_certificate(running.stub.IssueCertificate(request).certificate)


def revoke(running, certificate):
    serial = f"{certificate.x509.serial_number:x}"
    return running.stub.RevokeCertificate(RevokeCertificateRequest(serial=serial))


async def status_of(running, certificate):
    async with httpx2.AsyncClient() as client:
        response = await ocsp.fetch(
            client,
            certificate.ocsp_url,
            certificate=certificate,
            issuer=running.authority,
        )
    return ocsp.verify_response(
        response,
        certificate=certificate,
        issuer=running.authority,
        at=utc_now(),
        freshness=HOUR,
    )


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_member_gets_a_signing_certificate(running, algorithm):
    certificate = issue(running, TAX, algorithm)
    proof = verify_signing_certificate(
        certificate, chain=[], authorities=[running.authority], at=utc_now()
    )
    assert (proof.member, certificate.algorithm) == (TAX, algorithm)
    assert certificate.ocsp_url == f"{running.url}/ocsp"


def test_openssl_verifies_what_is_issued(running, tmp_path):
    ca = write_pem(tmp_path / "ca.pem", running.authority)
    for name, holder in (("member", TAX), ("server", SS1)):
        leaf = write_pem(tmp_path / f"{name}.pem", issue(running, holder))
        arguments = ("verify", "-x509_strict", "-CAfile", ca, leaf)
        assert openssl(*arguments, cwd=tmp_path) == (0, f"{leaf}: OK\n")


def test_a_server_gets_an_authentication_certificate(running, tmp_path):
    certificate = issue(running, SS1)
    proof = verify_authentication_certificate(
        certificate, chain=[], authorities=[running.authority], at=utc_now()
    )
    assert proof.server == SS1
    leaf = write_pem(tmp_path / "leaf.pem", certificate)
    ca = write_pem(tmp_path / "ca.pem", running.authority)
    for purpose in ("sslclient", "sslserver"):
        arguments = ("verify", "-purpose", purpose, "-verify_hostname", SS1.host_name)
        status, _ = openssl(*arguments, "-CAfile", ca, leaf, cwd=tmp_path)
        assert status == 0


async def test_a_new_certificate_is_good_until_it_is_revoked(running):
    certificate, other = issue(running), issue(running)
    status = await status_of(running, certificate)
    assert status.certificate == certificate.imprint
    assert timedelta() < status.fresh_until - utc_now() <= timedelta(seconds=600)
    revoked = revoke(running, certificate).certificate
    with pytest.raises(CertificateRevoked):
        await status_of(running, certificate)
    assert revoke(running, certificate).certificate == revoked
    assert (await status_of(running, other)).certificate == other.imprint
    listed = running.stub.ListCertificates(ListCertificatesRequest()).certificates
    states = {each.certificate: each.HasField("revoked_at") for each in listed}
    assert states[certificate.der]
    assert not states[other.der]


async def test_a_certificate_that_was_never_issued_is_unknown(running):
    async with httpx2.AsyncClient() as client:
        response = await ocsp.fetch(
            client,
            f"{running.url}/ocsp",
            # Never issued to anyone, so its serial number is not in the list.
            certificate=running.authority,
            issuer=running.authority,
        )
    with pytest.raises(CertificateStatusUnknown, match="does not know"):
        ocsp.verify_response(
            response,
            certificate=running.authority,
            issuer=running.authority,
            at=utc_now(),
            freshness=HOUR,
        )


@pytest.mark.parametrize("digest", ["-sha1", "-sha256", "-sha384"])
def test_openssl_believes_the_responder(running, tmp_path, digest):
    certificate = issue(running)
    ca = write_pem(tmp_path / "ca.pem", running.authority)
    leaf = write_pem(tmp_path / "leaf.pem", certificate)
    ask = ("ocsp", digest, "-issuer", ca, "-CAfile", ca, "-cert", leaf)
    ask += ("-url", f"{running.url}/ocsp", "-resp_text")
    status, output = openssl(*ask, cwd=tmp_path)
    assert status == 0, output
    assert "Response verify OK" in output
    assert f"{leaf}: good" in output
    # openssl asks with a nonce, and warns unless it comes back.
    assert "WARNING" not in output
    revoke(running, certificate)
    assert f"{leaf}: revoked" in openssl(*ask, cwd=tmp_path)[1]


def test_the_responder_answers_in_a_path_too(running):
    certificate = issue(running)
    request = ocsp.build_request(certificate, running.authority)
    path = quote(base64.b64encode(request).decode(), safe="")
    answer = httpx2.get(f"{running.url}/ocsp/{path}")
    assert answer.headers["content-type"] == "application/ocsp-response"
    ocsp.verify_response(
        answer.content,
        certificate=certificate,
        issuer=running.authority,
        at=utc_now(),
        freshness=HOUR,
    )


@pytest.mark.parametrize("path", ["/ocsp/MAA", "/ocsp/%%%", "/ocsp/MAA="])
def test_what_is_no_request_in_a_path_is_malformed(running, path):
    answer = x509.ocsp.load_der_ocsp_response(httpx2.get(running.url + path).content)
    assert answer.response_status is x509.ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("path", ["/ocsp", "/tsa"])
def test_another_media_type_or_too_much_is_refused(running, path):
    assert httpx2.post(running.url + path, content=b"0").status_code == 415
    kind = "ocsp-request" if path == "/ocsp" else "timestamp-query"
    headers = {"content-type": f"application/{kind}"}
    url = running.url + path
    assert httpx2.post(url, content=b"0" * 16384, headers=headers).status_code == 200
    assert httpx2.post(url, content=b"0" * 16385, headers=headers).status_code == 413


async def test_an_imprint_is_time_stamped(running):
    before = utc_now()
    async with httpx2.AsyncClient() as client:
        token = await timestamps.fetch(client, f"{running.url}/tsa", IMPRINT)
    stamp = timestamps.verify_token(
        token, imprint=IMPRINT, authorities=[running.time_stamping_authority]
    )
    assert timedelta(milliseconds=-1) < stamp.time - before < timedelta(seconds=5)
    assert stamp.authority == running.time_stamping_authority.imprint


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_openssl_believes_a_time_stamp(running, tmp_path, digest):
    (tmp_path / "data").write_bytes(b"a checkpoint")
    ca = write_pem(tmp_path / "ca.pem", running.authority)
    query = ("ts", "-query", "-data", "data", f"-{digest}", "-out", "q", "-cert")
    assert openssl(*query, cwd=tmp_path)[0] == 0
    headers = {"content-type": "application/timestamp-query"}
    answer = httpx2.post(
        f"{running.url}/tsa", content=(tmp_path / "q").read_bytes(), headers=headers
    )
    (tmp_path / "r").write_bytes(answer.content)
    verify = ("ts", "-verify", "-in", "r", "-CAfile", ca)
    for asked in (("-queryfile", "q"), ("-data", "data")):
        status, output = openssl(*verify, *asked, cwd=tmp_path)
        assert (status, "Verification: OK" in output) == (0, True), output
    (tmp_path / "data").write_bytes(b"another")
    assert openssl(*verify, "-data", "data", cwd=tmp_path)[0] != 0


def test_another_client_believes_a_time_stamp(running):
    request = TimestampRequestBuilder().data(b"a checkpoint").build()
    answer = httpx2.post(
        f"{running.url}/tsa",
        content=request.as_bytes(),
        headers={"content-type": "application/timestamp-query"},
    )
    verifier = (
        VerifierBuilder.from_request(request)
        .add_root_certificate(running.authority.x509)
        .build()
    )
    assert verifier.verify_message(decode(answer.content), b"a checkpoint")


async def test_a_refused_time_stamp_says_why(running):
    async with httpx2.AsyncClient() as client:
        for url in (f"{running.url}/ocsp", f"{running.url}/nowhere"):
            with pytest.raises(TimeStampingFailed, match="HTTP status"):
                await timestamps.fetch(client, url, IMPRINT)


def fault_of(call):
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return fault_of_status(refused.value.trailing_metadata())


def test_the_authority_refuses_by_name(running):
    stub = running.stub
    unknown = RevokeCertificateRequest(serial="1")
    assert isinstance(
        fault_of(lambda: stub.RevokeCertificate(unknown)), CertificateUnknown
    )
    for request in (
        IssueCertificateRequest(),
        IssueCertificateRequest(member=member_to_pb(TAX), signing_request=b"0"),
        IssueCertificateRequest(member=member_to_pb(MemberId("", "", ""))),
    ):
        fault = fault_of(lambda request=request: stub.IssueCertificate(request))
        assert isinstance(fault, RegistrationInvalid)


def test_only_this_user_may_administer_or_read_keys(running):
    socket = running.admin_socket.stat()
    assert stat.S_ISSOCK(socket.st_mode)
    assert (stat.S_IMODE(socket.st_mode), socket.st_uid) == (0o600, os.geteuid())
    assert stat.S_IMODE(running.state.stat().st_mode) == 0o700
    keys = sorted(running.state.glob("*.key"))
    assert [key.name for key in keys] == ["ca.key", "ocsp.key", "tsa.key"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_the_authority_publishes_its_certificate(running):
    pem = httpx2.get(f"{running.url}/ca.pem").content
    assert x509.load_pem_x509_certificate(pem) == running.authority.x509


async def test_a_restart_keeps_everything(running):
    kept, revoked = issue(running), issue(running)
    revoke(running, revoked)
    before = (running.authority, running.time_stamping_authority)
    listed = running.stub.ListCertificates(ListCertificatesRequest())
    assert running.stop() == (0, b"")
    running.start()
    assert (running.authority, running.time_stamping_authority) == before
    assert running.stub.ListCertificates(ListCertificatesRequest()) == listed
    assert (await status_of(running, kept)).certificate == kept.imprint
    with pytest.raises(CertificateRevoked):
        await status_of(running, revoked)
    assert not re.search('"level": "error"', running.log.read_text())
