"""Who is let in to the peer leg, and what ends a stream.

TLS 1.3 with a certificate of an approved CA; then Hello, which must be true; then
frames that have a place. What comes before Hello is believed is not recorded.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from grpc import StatusCode, aio

from ledger.record import Kind
from messaging.verification import VerifiedFault, VerifiedResponse
from protos.v1.exchange_pb2 import Cancel, FaultHead, Frame, Window
from protos.v1.identifier_pb2 import SecurityServerId as ServerPb
from security_server.peer_leg.frames import hello_frame
from security_server.peer_leg.identity import Hello
from security_server.peer_leg.tls import TlsIdentity
from tests.end_to_end.conftest import DESK
from tests.end_to_end.desk import WAIT, Desk, note
from tests.end_to_end.hostile import Stream, Thief, refused, tls_identity
from tests.end_to_end.siege import Population
from tests.end_to_end.waiting import eventually
from tests.pki import Pki
from trust.certificates import Certificate
from trust.keys import SoftwareKey
from vocabulary.clock import utc_now
from vocabulary.faults import Execution, Fault
from vocabulary.identifiers import SecurityServerId, ServiceId

pytestmark = pytest.mark.usefixtures("ledgers_still_verify")

# TLS.


def _tls(key: SoftwareKey, certificate: Certificate) -> TlsIdentity:
    pem = key.private_key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return tls_identity(pem, certificate)


async def test_a_certificate_of_an_unapproved_authority_is_not_let_in(
    thief: Thief,
) -> None:
    """Also where that authority bears the approved one's very name."""
    key, authentication = Pki(utc_now).authentication(thief.tax.server)
    async with thief.channel(_tls(key, authentication.certificate)) as channel:
        assert (await Stream(channel, thief.signers).broke()).startswith("UNAVAILABLE")


async def test_nobody_is_let_in_without_a_certificate(thief: Thief) -> None:
    server = thief.configuration.server(thief.population.server)
    (certificate,) = server.authentication_certificates
    roots = certificate.x509.public_bytes(Encoding.PEM)
    named = ("grpc.ssl_target_name_override", thief.population.server.host_name)
    async with aio.secure_channel(
        server.address, grpc.ssl_channel_credentials(roots), [named]
    ) as channel:
        assert (await Stream(channel, thief.signers).broke()).startswith("UNAVAILABLE")


async def test_nobody_is_let_in_without_tls(thief: Thief) -> None:
    address = thief.configuration.server(thief.population.server).address
    async with aio.insecure_channel(address) as channel:
        assert (await Stream(channel, thief.signers).broke()).startswith("UNAVAILABLE")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_only_tls_1_3_is_spoken(thief: Thief, version: ssl.TLSVersion) -> None:
    directory = thief.instance.directory / "security-server-tax"
    context = ssl.create_default_context(
        cafile=str(thief.instance.directory / "trust-services/ca.pem")
    )
    context.load_cert_chain(
        directory / "authentication.pem", directory / "authentication.key"
    )
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    host, _, port = thief.instance.server("population").peer.rpartition(":")
    name = thief.population.server.host_name
    with socket.create_connection((host, int(port))) as plain:
        if version is ssl.TLSVersion.TLSv1_3:
            with context.wrap_socket(plain, server_hostname=name) as spoken:
                assert spoken.version() == "TLSv1.3"
        else:
            with pytest.raises(ssl.SSLError, match=r"(?i)eof|handshake|alert"):
                context.wrap_socket(plain, server_hostname=name)


# Hello.


async def _ended_by(thief: Thief, *frames: Frame) -> Fault:
    """Say these frames first, and give the fault that the stream ends with."""
    before = len(thief.instance.entries("population"))
    async with thief.channel(thief.tax.tls) as channel:
        stream = Stream(channel, thief.signers)
        await stream.say(*frames)
        fault = await stream.ended()
    assert fault.origin == thief.population.server
    assert fault.execution is not Execution.EXECUTED
    # A stranger must not be able to fill a ledger. What was refused before this may
    # have repeated, which is counted a second later.
    for entry in thief.instance.entries("population")[before:]:
        assert FaultHead.FromString(entry.head).repeats
    return fault


async def test_nothing_is_said_before_hello(thief: Thief) -> None:
    part = thief.frame(await thief.asked())
    hello = hello_frame(await thief.hello(thief.tax))
    for frames in ((part,), (hello, part), (Frame(cancel=Cancel()),), (Frame(),), ()):
        fault = await _ended_by(thief, *frames)
        assert fault.code == "FRAME_UNEXPECTED"


Changed = Callable[[Thief, Hello], Hello | Awaitable[Hello]]


def _other_server(thief: Thief, hello: Hello) -> Hello:
    return replace(hello, server=thief.health.server)


def _other_server_and_certificate(thief: Thief, hello: Hello) -> Hello:
    thumbprint = thief.health.authentication.thumbprint
    return Hello(thief.health.server, thumbprint, hello.ocsp_response)


def _own_name(thief: Thief, hello: Hello) -> Hello:
    """The name of the very server that is called."""
    return replace(hello, server=thief.population.server)


def _unknown_server(thief: Thief, hello: Hello) -> Hello:
    return replace(hello, server=SecurityServerId(hello.server.owner, "ss9"))


def _other_certificate(thief: Thief, hello: Hello) -> Hello:
    return replace(hello, certificate_thumbprint=thief.tax.signing.thumbprint)


def _no_certificate(thief: Thief, hello: Hello) -> Hello:
    return replace(hello, certificate_thumbprint=b"")


def _no_status(thief: Thief, hello: Hello) -> Hello:
    return replace(hello, ocsp_response=b"")


def _forged_status(thief: Thief, hello: Hello) -> Hello:
    forged = Pki(utc_now).ocsp(thief.tax.authentication)
    return replace(hello, ocsp_response=forged)


def _stale_status(thief: Thief, hello: Hello) -> Hello:
    before = utc_now() - timedelta(seconds=65)
    stale = thief.status_of(thief.tax.authentication, before)
    return replace(hello, ocsp_response=stale)


def _status_of_another(thief: Thief, hello: Hello) -> Hello:
    others = thief.status_of(thief.tax.signing, utc_now())
    return replace(hello, ocsp_response=others)


HELLOS: dict[str, tuple[Callable[[Thief, Hello], Hello], str]] = {
    "another server": (_other_server, "CERTIFICATE_UNKNOWN"),
    "another server and its certificate": (
        _other_server_and_certificate,
        "PEER_MISMATCH",
    ),
    "the server that is called": (_own_name, "CERTIFICATE_UNKNOWN"),
    "no server of the instance": (_unknown_server, "PEER_MISMATCH"),
    "another certificate than TLS has shown": (_other_certificate, "PEER_MISMATCH"),
    "no certificate": (_no_certificate, "PEER_MISMATCH"),
    "no status": (_no_status, "CERTIFICATE_STATUS_UNKNOWN"),
    "a forged status": (_forged_status, "CERTIFICATE_STATUS_UNKNOWN"),
    "a stale status": (_stale_status, "CERTIFICATE_STATUS_UNKNOWN"),
    "the status of another": (_status_of_another, "CERTIFICATE_STATUS_UNKNOWN"),
}


@pytest.mark.parametrize("said", HELLOS)
async def test_a_hello_that_is_not_true_is_the_last_word(
    thief: Thief, said: str
) -> None:
    change, code = HELLOS[said]
    hello = change(thief, await thief.hello(thief.tax))
    fault = await _ended_by(thief, hello_frame(hello))
    assert fault.code == code


async def test_a_hello_of_nobody_is_the_last_word(thief: Thief) -> None:
    frame = hello_frame(await thief.hello(thief.tax))
    frame.hello.security_server.CopyFrom(ServerPb(server_code="ss1"))
    assert (await _ended_by(thief, frame)).code == "FRAME_UNEXPECTED"


async def test_a_certificate_that_nobody_has_registered_is_not_believed(
    thief: Thief,
) -> None:
    """The approved CA has issued it to that very server."""
    key, certificate = thief.issue(thief.tax.server)
    keys = replace(thief.tax, authentication=certificate, tls=_tls(key, certificate))
    async with thief.channel(keys.tls) as channel:
        stream = Stream(channel, thief.signers)
        await stream.say(hello_frame(await thief.hello(keys)))
        assert (await stream.ended()).code == "CERTIFICATE_UNKNOWN"


# Frames.


async def test_a_frame_that_has_no_place_ends_the_stream(thief: Thief) -> None:
    part = thief.frame(await thief.asked())
    odd = (
        Frame(exchange_id=1),
        Frame.FromString(b"\x08\x01\xf2\x07\x01\x00"),  # a kind of a later version
        hello_frame(await thief.hello(thief.tax)),
        Frame(exchange_id=1, fault=part.part, row_hash=part.row_hash),
        Frame(exchange_id=0, part=part.part, row_hash=part.row_hash),
    )
    for frame in odd:
        async with thief.stream(thief.tax) as stream:
            await stream.say(frame)
            fault = await stream.ended()
            assert (fault.code, fault.origin) == (
                "FRAME_UNEXPECTED",
                thief.population.server,
            )


async def test_an_exchange_under_way_is_not_begun_again(
    thief: Thief, stream: Stream, population: Population
) -> None:
    """What was begun is recorded to its end, though nobody hears of it."""
    first, second = await thief.asked(), await thief.asked()
    await stream.say(thief.frame(first, 7), thief.frame(second, 7))
    assert (await stream.ended()).code == "FRAME_UNEXPECTED"
    message_id = first.request.identities.message_id

    async def kinds() -> bool:
        entries = thief.instance.entries("population", message_id)
        return [e.kind for e in entries] == [Kind.REQUEST_RECEIVED, Kind.RESPONSE_SENT]

    await eventually(kinds, "the first of the two is recorded to its end")
    assert population.received(second) == 0


async def test_a_word_on_an_exchange_that_is_not_under_way_is_passed_over(
    thief: Thief, stream: Stream
) -> None:
    await stream.say(
        Frame(exchange_id=1, cancel=Cancel()),
        Frame(exchange_id=9, window=Window(octets=1)),
        Frame(window=Window(octets=1 << 31)),
    )
    assert isinstance(await thief.answer(stream, await thief.asked()), VerifiedResponse)
    await stream.say(Frame(exchange_id=1, cancel=Cancel()))
    # An exchange that is over may be followed by another of its number.
    assert isinstance(await thief.answer(stream, await thief.asked()), VerifiedResponse)


async def test_octets_that_are_no_frames_end_the_stream_and_nothing_else(
    thief: Thief,
) -> None:
    async with thief.channel(thief.tax.tls) as channel:
        raw: aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/ristmik.v1.ExchangeService/Exchange"
        )
        call = raw()
        await call.write(b"\xff\xff\xff")
        assert await call.code() is not StatusCode.OK
    async with thief.stream(thief.tax) as another:
        answer = await thief.answer(another, await thief.asked())
        assert isinstance(answer, VerifiedResponse)


# Cancelling.


@pytest.fixture
def waiting_desk(desk: Desk) -> Iterator[Desk]:
    desk.let_go.clear()
    yield desk
    desk.let_go.set()


async def test_a_cancelled_exchange_is_answered_and_recorded_so(
    thief: Thief, waiting_desk: Desk
) -> None:
    health = thief.health
    request = thief.request(
        body=note("?"),
        service=ServiceId.parse(DESK),
        method=WAIT,
        provider_server=health.server,
    )
    asked = await thief.asked(request)
    message_id = request.identities.message_id

    async def is_asked() -> bool:
        return bool(waiting_desk.asked_by(message_id))

    async with thief.stream(thief.tax, health) as stream:
        await stream.say(thief.frame(asked))
        await eventually(is_asked, "the desk is asked")
        await stream.say(Frame(exchange_id=1, cancel=Cancel()))
        answers = await stream.answers(1)
        answer = thief.verified(answers[1], asked, of=health)
    assert refused(answer) == ("CANCELLED", "UNKNOWN", health.server)
    assert isinstance(answer, VerifiedFault)
    entries = thief.instance.entries("health", message_id)
    assert [entry.kind for entry in entries] == [
        Kind.REQUEST_RECEIVED,
        Kind.RESPONSE_FAILED,
    ]
