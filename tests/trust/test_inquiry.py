"""Asking authorities that answer badly, late, without end, or not at all."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as ocsp_builder

from tests.pki import Pki
from tests.trust.building import AT
from tests.trust_services.oracles import free_port
from trust import inquiry, ocsp, timestamps
from trust_services.ocsp_responder import OcspResponder
from vocabulary.faults import CertificateStatusUnknown, TimeStampingFailed
from vocabulary.identifiers import MemberId
from vocabulary.imprint import Imprint

URL = "http://authority.example/ask"
IMPRINT = Imprint.of(b"a checkpoint")
PKI = Pki(lambda: AT)
CERTIFICATE = PKI.signing(MemberId("EE-SANDBOX", "GOV", "1"))[1].certificate
OCSP, TSA = ocsp.MEDIA.answer, timestamps.MEDIA.answer


def client(answer):
    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))


def status(http, url=URL):
    return ocsp.fetch(http, url, certificate=CERTIFICATE, issuer=PKI.authority)


async def refused(answer, why):
    async with client(answer) as http:
        with pytest.raises(CertificateStatusUnknown, match=why):
            await status(http)
        with pytest.raises(TimeStampingFailed, match=why):
            await timestamps.fetch(http, URL, IMPRINT)


def kind(request):
    """Give the media type that an authority would answer this with."""
    asked = request.headers["content-type"]
    return {ocsp.MEDIA.question: OCSP, timestamps.MEDIA.question: TSA}[asked]


class Endless(httpx2.AsyncByteStream):
    """A body that would never end, and counts how much of it was taken."""

    taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            type(self).taken += 1
            yield b"\0" * 1024


async def test_what_an_authority_answers_is_given():
    async with client(stamping) as http:
        token = await timestamps.fetch(http, URL, IMPRINT)
    timestamps.verify_token(
        token, imprint=IMPRINT, authorities=PKI.time_stamping_authorities
    )


def stamping(request):
    headers = {"content-type": f"{TSA}; charset=binary"}
    return httpx2.Response(
        200, content=PKI.tsa.answer(request.content), headers=headers
    )


async def test_a_status_is_asked_with_a_nonce():
    async def none(_serial):
        return None

    responder = OcspResponder(
        PKI.delegate_key,
        PKI.delegate,
        issuer=PKI.authority,
        find=none,
        validity=ocsp.CLOCK_SKEW,
        clock=PKI.clock,
    )
    answers = []

    async def answer(request):
        answers.append(await responder.answer(request.content))
        # The first answer, whatever is asked later.
        return httpx2.Response(200, content=answers[0], headers={"content-type": OCSP})

    async with client(answer) as http:
        assert await status(http) == answers[0]
        with pytest.raises(CertificateStatusUnknown, match="another request"):
            await status(http)


async def test_a_responder_may_leave_the_nonce_out():
    response = PKI.ocsp(CERTIFICATE)

    def answer(_request):
        return httpx2.Response(200, content=response, headers={"content-type": OCSP})

    async with client(answer) as http:
        assert await status(http) == response


async def test_extensions_that_cannot_be_read_are_refused():
    one, other = (
        x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.{last}"), b"")
        for last in (4, 5)
    )
    signed = (
        ocsp_builder.OCSPResponseBuilder()
        .add_response(
            CERTIFICATE.x509,
            PKI.authority.x509,
            SHA256(),
            ocsp_builder.OCSPCertStatus.GOOD,
            AT,
            None,
            None,
            None,
        )
        .responder_id(ocsp_builder.OCSPResponderEncoding.HASH, PKI.delegate.x509)
        .add_extension(one, critical=False)
        .add_extension(other, critical=False)
        .sign(PKI.delegate_key.private_key, SHA256())
    )
    # No builder makes the same extension twice.
    twice = signed.public_bytes(Encoding.DER).replace(b"*\x03\x05", b"*\x03\x04")

    def answer(_request):
        return httpx2.Response(200, content=twice, headers={"content-type": OCSP})

    async with client(answer) as http:
        with pytest.raises(CertificateStatusUnknown, match="Duplicate"):
            await status(http)


async def test_an_answer_to_another_request_is_refused():
    other = PKI.tsa.answer(timestamps.build_request(IMPRINT, 1))

    def answer(_request):
        return httpx2.Response(200, content=other, headers={"content-type": TSA})

    async with client(answer) as http:
        with pytest.raises(TimeStampingFailed, match="nonce"):
            await timestamps.fetch(http, URL, IMPRINT)


@pytest.mark.parametrize("code", [204, 302, 404, 500])
async def test_another_status_is_no_answer(code):
    def answer(request):
        headers = {"content-type": kind(request), "location": "http://else.example"}
        return httpx2.Response(code, headers=headers)

    await refused(answer, f"HTTP status {code}")


@pytest.mark.parametrize("other", ["text/html", OCSP + "x", ""])
async def test_another_media_type_is_no_answer(other):
    def answer(_request):
        return httpx2.Response(200, content=b"0", headers={"content-type": other})

    await refused(answer, "answered with")


async def test_an_encoded_answer_is_not_decoded():
    def answer(request):
        headers = {"content-type": kind(request), "content-encoding": "gzip"}
        return httpx2.Response(200, headers=headers, stream=Endless())

    before = Endless.taken
    await refused(answer, "encoding")
    assert Endless.taken == before


async def test_junk_is_no_answer():
    def answer(request):
        headers = {"content-type": kind(request)}
        return httpx2.Response(200, content=b"junk", headers=headers)

    await refused(answer, "cannot be relied on|not a response")


async def test_an_answer_without_end_is_left_at_the_limit():
    def answer(request):
        headers = {"content-type": kind(request)}
        return httpx2.Response(200, headers=headers, stream=Endless())

    before = Endless.taken
    await refused(answer, "more than 65536 octets")
    assert Endless.taken - before == 2 * 65


async def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(inquiry, "TIMEOUT_S", 0.02)

    async def answer(_request):
        await asyncio.Event().wait()

    await refused(answer, "did not answer within")


async def test_an_answer_that_trickles_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(inquiry, "TIMEOUT_S", 0.05)

    class Trickle(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b"\0"
                await asyncio.sleep(0.001)

    def answer(request):
        headers = {"content-type": kind(request)}
        return httpx2.Response(200, headers=headers, stream=Trickle())

    await refused(answer, "did not answer within")


async def test_an_authority_that_is_down_is_no_answer():
    url = f"http://127.0.0.1:{free_port()}/"
    async with httpx2.AsyncClient() as http:
        with pytest.raises(CertificateStatusUnknown, match="could not be asked"):
            await status(http, url)
        with pytest.raises(TimeStampingFailed, match="could not be asked"):
            await timestamps.fetch(http, url, IMPRINT)


@pytest.mark.parametrize("url", ["", "ftp://authority.example", "http://[", "nowhere"])
async def test_an_address_that_is_none_is_no_answer(url):
    async with httpx2.AsyncClient() as http:
        with pytest.raises(CertificateStatusUnknown, match="could not be asked"):
            await status(http, url)
