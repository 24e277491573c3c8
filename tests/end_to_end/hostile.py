"""A peer that holds an agency's own keys, and says whatever a test wants.

It speaks the peer leg itself: mutual TLS, Hello with a real OCSP response, frames. What
it is answered is verified as an honest server would.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from grpc import aio

from cli.configuration import kept_configuration
from cli.connection import ask, certification_authority
from cli.parts import Parts
from messaging.envelope import Identities, PurposeBlock, Request
from messaging.parts import Open, Part
from messaging.signers import Signers
from messaging.signing import Credential, SignedPart, sign_batch
from messaging.transport import OPTIONS, fault_of_status
from messaging.verification import VerifiedAnswer, VerifiedFault, Verifier
from messaging.wire.heads import encode_open
from messaging.wire.identifiers import member_to_pb, server_to_pb
from messaging.wire.parts import part_to_pb
from protos.v1.exchange_pb2 import Frame, Frames
from protos.v1.exchange_pb2_grpc import ExchangeServiceStub
from protos.v1.trust_services_pb2 import (
    IssueCertificateRequest,
    RevokeCertificateRequest,
)
from security_server.call_metadata import new_message_id
from security_server.peer_leg.frames import delivered, hello_frame, read_hello
from security_server.peer_leg.identity import Hello
from security_server.peer_leg.tls import TlsIdentity
from tests.end_to_end.instance import Instance
from trust.certificates import Certificate, parse_certificate
from trust.global_configuration import GlobalConfiguration
from trust.keys import SoftwareKey
from trust.ocsp import CertificateStatus, fetch
from vocabulary.clock import utc_now
from vocabulary.faults import Fault
from vocabulary.identifiers import MemberId, SecurityServerId, ServiceId, SubsystemId
from vocabulary.imprint import Imprint

GOOD = ocsp.OCSPCertStatus.GOOD
# Of a record that nobody has made.
ROW_HASH = b"\x11" * 32
WITHIN_S = 20.0
# Those of a server, but it may say more than that.
_OPTIONS: dict[str, int] = dict(OPTIONS) | {
    "grpc.max_send_message_length": -1,
    "grpc.use_local_subchannel_pool": 1,
}


@dataclass(frozen=True)
class Keys:
    """What a security server keeps in its directory, in the wrong hands."""

    server: SecurityServerId
    key: SoftwareKey
    signing: Certificate
    authentication: Certificate
    tls: TlsIdentity

    @classmethod
    def read(cls, server: SecurityServerId, directory: Path) -> "Keys":
        authentication = certificate_in(directory / "authentication.pem")
        return cls(
            server,
            SoftwareKey.load(directory / "signing.key"),
            certificate_in(directory / "signing.pem"),
            authentication,
            tls_identity(
                (directory / "authentication.key").read_bytes(), authentication
            ),
        )


@dataclass(frozen=True)
class Asked:
    """What was sent, that an answer must be bound to."""

    request: Request
    message: SignedPart


@dataclass(frozen=True)
class Held:
    """A configuration that does not change."""

    configuration: GlobalConfiguration

    def current(self) -> GlobalConfiguration:
        return self.configuration


class Thief:
    """Holds the keys of all agencies and of the OCSP responder."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        directory = instance.directory
        parts = Parts.parse(instance.document, directory=directory)
        self.configuration = kept_configuration(parts)
        self.issuer = certificate_in(directory / "trust-services/ca.pem")
        self.responder = certificate_in(directory / "trust-services/ocsp.pem")
        self.responder_key = SoftwareKey.load(directory / "trust-services/ocsp.key")
        self.signers = Signers(Held(self.configuration))
        self.tax, self.population, self.health = (
            Keys.read(
                SecurityServerId.parse(instance.server(code).id),
                directory / f"security-server-{code}",
            )
            for code in ("tax", "population", "health")
        )
        self.verifier = Verifier(
            self.tax.server, Held(self.configuration), self.signers, utc_now
        )

    # What it says.

    def request(self, *, body: bytes | None = None, **changed: Any) -> Request:
        """Ask what the instance's example asks; `changed` are its identities."""
        example = self.instance.example
        keys = example.keys
        identities = Identities(
            new_message_id(),
            SubsystemId.parse(keys["client"]),
            ServiceId.parse(keys["service"]),
            example.method,
            self.tax.server,
            self.population.server,
        )
        block = PurposeBlock(keys["purpose"], keys["legal_basis"], (keys["subject"],))
        asked = example.body if body is None else body
        return Request(replace(identities, **changed), asked, block)

    async def asked(
        self,
        request: Request | None = None,
        *,
        issued_at: datetime | None = None,
        credential: Credential | None = None,
    ) -> Asked:
        """Sign a request, in the tax board's name unless told otherwise."""
        request = request or self.request()
        credential = credential or await self.credential(self.tax)
        part = encode_open(Open(request, issued_at or utc_now()))
        (message,) = sign_batch([part], credential)
        return Asked(request, message)

    async def signed(self, asked: Asked, part: Part) -> Asked:
        """Sign another part in the place of what was asked."""
        (message,) = sign_batch([part], await self.credential(self.tax))
        return replace(asked, message=message)

    async def credential(
        self, keys: Keys, *, response: bytes | None = None
    ) -> Credential:
        """Give a member's own key with its status; `response` stands in for it."""
        der = response or await self.status(keys.signing)
        return self.credential_of(keys.key, keys.signing, der)

    def credential_of(
        self, key: SoftwareKey, certificate: Certificate, response: bytes
    ) -> Credential:
        now, imprint = utc_now(), Imprint.of(response)
        status = CertificateStatus(certificate.imprint, imprint, response, now, now)
        credential = Credential(key, certificate, (), status)
        self.signers.learn(credential.evidence)
        return credential

    async def status(self, certificate: Certificate) -> bytes:
        """Ask the instance's own responder."""
        url = self.instance.document["trust"]["ocsp"]
        async with httpx2.AsyncClient(trust_env=False) as client:
            return await fetch(client, url, certificate=certificate, issuer=self.issuer)

    def status_of(self, certificate: Certificate, at: datetime) -> bytes:
        """Say with the responder's key that it was good then, for a minute."""
        response = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                *(certificate.x509, self.issuer.x509, SHA256(), GOOD),
                *(at, at + timedelta(minutes=1), None, None),
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, self.responder.x509)
            .certificates([self.responder.x509])
            .sign(self.responder_key.private_key, SHA256())
        )
        return response.public_bytes(Encoding.DER)

    def issue(
        self, holder: MemberId | SecurityServerId
    ) -> tuple[SoftwareKey, Certificate]:
        """Have the instance's CA issue one more certificate."""
        key = SoftwareKey.generate()
        member = member_to_pb(holder) if isinstance(holder, MemberId) else None
        server = server_to_pb(holder) if isinstance(holder, SecurityServerId) else None
        request = IssueCertificateRequest(
            member=member,
            server=server,
            signing_request=key.signing_request("another"),
            name="another",
        )
        with certification_authority(self.instance.directory) as stub:
            issued = ask(stub.IssueCertificate, request, of="the CA")
        return key, parse_certificate(issued.certificate)

    def revoke(self, certificate: Certificate) -> None:
        request = RevokeCertificateRequest(serial=f"{certificate.x509.serial_number:x}")
        with certification_authority(self.instance.directory) as stub:
            ask(stub.RevokeCertificate, request, of="the CA")

    # How it says it.

    @asynccontextmanager
    async def channel(
        self, tls: TlsIdentity, called: Keys | None = None
    ) -> AsyncIterator[aio.Channel]:
        """Connect to a server's peer leg, the population register's if not told."""
        called = called or self.population
        registered = self.configuration.server(called.server)
        credentials = tls.channel_credentials(registered.authentication_certificates)
        name = ("grpc.ssl_target_name_override", called.server.host_name)
        async with aio.secure_channel(
            registered.address, credentials, (*_OPTIONS.items(), name)
        ) as channel:
            yield channel

    @asynccontextmanager
    async def stream(
        self, keys: Keys, called: Keys | None = None
    ) -> AsyncIterator["Stream"]:
        """Say Hello with these keys and be greeted."""
        called = called or self.population
        async with self.channel(keys.tls, called) as channel:
            stream = Stream(channel, self.signers)
            await stream.say(hello_frame(await self.hello(keys)))
            assert read_hello(await stream.hear()).server == called.server
            yield stream

    async def hello(self, keys: Keys) -> Hello:
        response = await self.status(keys.authentication)
        return Hello(keys.server, keys.authentication.thumbprint, response)

    # What it hears.

    async def answer(
        self,
        stream: "Stream",
        asked: Asked,
        alter: Callable[[Frame], None] = lambda frame: None,
    ) -> VerifiedAnswer:
        """Send one part with its evidence, altered as told, and hear what comes."""
        frame = self.frame(asked)
        alter(frame)
        await stream.say(frame)
        answers = await stream.answers(frame.exchange_id)
        return self.verified(answers[frame.exchange_id], asked, frame)

    def frame(self, asked: Asked, exchange_id: int = 1) -> Frame:
        return Frame(
            exchange_id=exchange_id,
            timeout_ms=int(WITHIN_S * 1000),
            part=part_to_pb(asked.message),
            row_hash=ROW_HASH,
            evidence=self.signers.evidence(asked.message.evidence),
        )

    def verified(
        self,
        answer: Frame,
        asked: Asked,
        sent: Frame | None = None,
        *,
        of: Keys | None = None,
    ) -> VerifiedAnswer:
        """Believe an answer of the called server to what was sent."""
        if sent is not None:
            part = Part(sent.part.type, sent.part.head, ())
            asked = replace(asked, message=replace(asked.message, part=part))
        said = delivered(answer, (of or self.population).server)
        return self.verifier.verify_response(said, to=asked)


def refused(answer: VerifiedAnswer) -> tuple[str, str, SecurityServerId]:
    """Give code, execution and origin of an answer that is a signed fault."""
    assert isinstance(answer, VerifiedFault), answer
    said = answer.refusal
    assert said.detail
    return said.code, said.execution.value, said.origin


class Stream:
    """One stream of the peer leg, without any of a server's manners."""

    def __init__(self, channel: aio.Channel, signers: Signers) -> None:
        self._signers = signers
        self._call = ExchangeServiceStub(channel).Exchange(timeout=WITHIN_S)

    async def say(self, *frames: Frame) -> None:
        """Send frames in one stream message."""
        await self._call.write(Frames(frames=frames))

    async def hear(self) -> Frames:
        heard = await self._call.read()
        assert isinstance(heard, Frames), "the stream has ended"
        return heard

    async def is_greeted(self) -> bool:
        """Whether the first thing heard is no end of the stream."""
        try:
            return isinstance(await self._call.read(), Frames)
        except aio.AioRpcError:
            return False

    async def takes(self, frame: Frame) -> bool:
        """Say a frame, unless the stream has ended."""
        try:
            await self.say(frame)
        except (aio.AioRpcError, asyncio.InvalidStateError):
            return False
        return True

    async def answers(self, *exchange_ids: int) -> Mapping[int, Frame]:
        """Wait for the frames that answer these exchanges."""
        heard: dict[int, Frame] = {}
        while not heard.keys() >= set(exchange_ids):
            for frame in (await self.hear()).frames:
                assert frame.exchange_id not in heard, "answered twice"
                self._signers.learn(frame.evidence)
                heard[frame.exchange_id] = frame
        return heard

    async def ended(self) -> Fault:
        """Wait until the server has ended it; give the fault that it ended with."""
        fault = fault_of_status((await self._end()).trailing_metadata())
        assert fault is not None
        return fault

    async def broke(self) -> str:
        """Wait until the connection is refused; give gRPC's own words for it."""
        error = await self._end()
        assert fault_of_status(error.trailing_metadata()) is None
        return f"{error.code().name}: {error.details()}"

    async def _end(self) -> aio.AioRpcError:
        with pytest.raises(aio.AioRpcError) as ended:
            await self._read_to_its_end()
        return ended.value

    async def _read_to_its_end(self) -> None:
        while isinstance(await self._call.read(), Frames):
            pass


def certificate_in(path: Path) -> Certificate:
    return parse_certificate(
        x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    )


def tls_identity(key: bytes, certificate: Certificate) -> TlsIdentity:
    return TlsIdentity(key, certificate.x509.public_bytes(Encoding.PEM))
