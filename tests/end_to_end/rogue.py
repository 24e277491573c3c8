"""A registered member whose security server answers with lies.

Its keys, certificates and registration are real; its server is this one. It greets
whoever calls, describes its service as it should, and answers each call as told.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from cli.connection import administration, ask, certification_authority, registry
from cli.parts import Parts
from cli.sandbox.agencies import Agency
from cli.sandbox.keys import equip
from cli.sandbox.registration import SandboxRegistration
from messaging.envelope import Response
from messaging.parts import Close, Part, PartType, Refusal
from messaging.signing import Credential, SignedPart, sign_batch
from messaging.transport import OPTIONS
from messaging.wire.heads import decode_open, encode_close, encode_refusal
from messaging.wire.parts import part_from_pb, part_to_pb
from protos.v1.administration_pb2 import GetStatusRequest
from protos.v1.exchange_pb2 import Frame, Frames
from protos.v1.exchange_pb2_grpc import (
    ExchangeServiceServicer,
    add_ExchangeServiceServicer_to_server,
)
from security_server.local_leg.description import describe
from security_server.peer_leg.frames import hello_frame, read_hello
from security_server.registration.services import DESCRIBE, registered_service
from tests.end_to_end.desk import DESCRIPTORS
from tests.end_to_end.hostile import ROW_HASH, Asked, Held, Keys, Thief
from tests.end_to_end.waiting import until
from vocabulary.clock import utc_now
from vocabulary.faults import Execution
from vocabulary.identifiers import MemberId, ServiceId, SubsystemId

ROGUE = Agency(
    "Rogue OÜ", SubsystemId(MemberId("EE-SANDBOX", "COM", "10000356"), "rogue")
)
SERVICE = ServiceId(ROGUE.subsystem, "lies", "v1")

# Gives what is said in answer to one part; may end the stream by the context instead.
Lie: TypeAlias = Callable[["Rogue", Asked, Any], Sequence[Frame]]


@dataclass
class Rogue(ExchangeServiceServicer):
    thief: Thief
    keys: Keys
    address: str = ""
    lie: Lie | None = None
    # What it says first; its own name and status unless a test wants otherwise.
    hello: Callable[["Rogue"], Frame] | None = None
    description: bytes = b""

    def Exchange(self, requests: Iterator[Frames], context: Any) -> Iterator[Frames]:  # noqa: N802 - gRPC's name
        read_hello(next(requests))
        hello = self.hello or Rogue.true_hello
        yield Frames(frames=[hello(self)])
        for frames in requests:
            for frame in frames.frames:
                if frame.WhichOneof("kind") == "part":
                    self.thief.signers.learn(frame.evidence)
                    yield Frames(frames=self._answer(frame, context))

    def true_hello(self) -> Frame:
        return hello_frame(asyncio.run(self.thief.hello(self.keys)))

    def _answer(self, frame: Frame, context: Any) -> Sequence[Frame]:
        message = part_from_pb(frame.part)
        asked = Asked(decode_open(message.part).request, message)
        if asked.request.identities.method == DESCRIBE:
            said = [self.answer(asked, Response(0, self.description))]
        else:
            assert self.lie is not None
            said = list(self.lie(self, asked, context))
        for each in said:
            each.exchange_id = each.exchange_id or frame.exchange_id
        return said

    # What lies are made of.

    def credential(self, keys: Keys | None = None) -> Credential:
        return asyncio.run(self.thief.credential(keys or self.keys))

    def credential_as_of(self, age: timedelta) -> Credential:
        """Give its own key, with a status that was so long ago."""
        status = self.thief.status_of(self.keys.signing, utc_now() - age)
        return self.thief.credential_of(self.keys.key, self.keys.signing, status)

    def answer(
        self,
        asked: Asked,
        response: Response,
        *,
        by: Credential | None = None,
        **changed: Any,
    ) -> Frame:
        """Answer a request as one should; `changed` are fields of the CLOSE."""
        close = Close.answering(asked.message.part, asked.request, response, utc_now())
        return self.signed(encode_close(replace(close, **changed)), by=by)

    def fault(
        self, asked: Asked, *, by: Credential | None = None, **changed: Any
    ) -> Frame:
        """Refuse a request as one should; `changed` are fields of the fault."""
        refusal = Refusal(
            *(utc_now(), self.keys.server, "ACCESS_DENIED", "go away"),
            *(Execution.NOT_EXECUTED, asked.request.identities),
            asked.message.part.imprint,
        )
        return self.signed(encode_refusal(replace(refusal, **changed)), by=by)

    def signed(self, part: Part, *, by: Credential | None = None) -> Frame:
        (message,) = sign_batch([part], by or self.credential())
        return self.frame(message)

    def frame(self, message: SignedPart) -> Frame:
        frame = Frame(
            row_hash=ROW_HASH, evidence=self.thief.signers.evidence(message.evidence)
        )
        is_fault = message.part.type == PartType.FAULT
        (frame.fault if is_fault else frame.part).CopyFrom(part_to_pb(message))
        return frame


def true_description() -> bytes:
    return describe(registered_service(SERVICE, "127.0.0.1:1", DESCRIPTORS))


def _configuration_of_tax(thief: Thief) -> int:
    parts = Parts.parse(thief.instance.document, directory=thief.instance.directory)
    with administration(parts.server(thief.tax.server)) as stub:
        answer = ask(stub.GetStatus, GetStatusRequest(), of="the tax board's server")
        return answer.configuration_version


@contextmanager
def running_rogue(thief: Thief, directory: Path) -> Iterator[Rogue]:
    """Register a member with a server, and be that server."""
    with certification_authority(thief.instance.directory) as authority:
        registered = equip(authority, ROGUE, directory)
    keys = Keys.read(ROGUE.server, directory)
    rogue = Rogue(thief, keys, description=true_description())
    threads = ThreadPoolExecutor(max_workers=8)
    server = grpc.server(threads, options=OPTIONS)
    add_ExchangeServiceServicer_to_server(rogue, server)
    held = Held(thief.configuration)
    credentials = rogue.keys.tls.server_credentials(held, first=thief.configuration)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    rogue.address = f"127.0.0.1:{port}"
    server.start()
    with registry(thief.instance.directory) as stub:
        registration = SandboxRegistration(stub)
        registration.register_member(ROGUE)
        registration.register_server(ROGUE, address=rogue.address, keys=registered)
        registration.register_subsystem(ROGUE)
    until(
        lambda: _configuration_of_tax(thief) >= registration.version,
        "the tax board's server has heard of the rogue",
    )
    try:
        yield rogue
    finally:
        server.stop(0).wait()
        threads.shutdown()
