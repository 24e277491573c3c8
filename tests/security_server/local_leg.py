"""One security server's local leg over real gRPC; the walk behind it is a fake."""

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from types import SimpleNamespace

from grpc import aio

from messaging.envelope import Response
from messaging.transport import fault_of_status, server
from security_server.access_rights import Demands
from security_server.local_leg.call import Limits
from security_server.local_leg.description import Descriptions, describe
from security_server.local_leg.routing import LocalHandler
from security_server.local_leg.service import LocalService
from security_server.message_log import Answer
from security_server.registration.registrations import LocalClient, Registrations
from security_server.registration.services import DESCRIBE, registered_service
from tests.security_server.descriptors import DESCRIPTORS, GET, PERSONS, POPULATION, TAX
from tests.security_server.systems import LARGE
from vocabulary.faults import MemberUnknown, ServiceUnknown
from vocabulary.identifiers import SecurityServerId

HERE = SecurityServerId(TAX.member, "ss1")
THERE = SecurityServerId(POPULATION.member, "ss1")
NAMED = (("ristmik-client", str(TAX)), ("ristmik-service", str(PERSONS)))
ANN = "PNOEE-39901012239"
WHY = (
    ("ristmik-purpose", "audit"),
    ("ristmik-legal-basis", "law-1"),
    ("ristmik-subject", ANN),
)
SUBJECTS = {
    "personal": True,
    "request_subjects": ["GetRequest.code"],
    "response_subjects": ["Person.code"],
}


async def echo(request, _timeout_s):
    return Response(0, request.body)


@dataclass
class Walk:
    """Stands for the consumer's half and all that is behind it."""

    answer: object = echo
    personal: bool = False
    registered: bool = True
    requests: list = field(default_factory=list)
    times: list = field(default_factory=list)
    described: list = field(default_factory=list)

    async def exchange(self, request, timeout_s, *, demands=Demands.NOTHING):
        if request.identities.method == DESCRIBE:
            self.described.append(request)
            if not self.registered:
                fault = ServiceUnknown("not registered")
                fault.origin = THERE
                raise fault
            return Answer(Response(0, describe(self.service())), 7)
        self.requests.append((request, demands))
        self.times.append(timeout_s)
        return Answer(await self.answer(request, timeout_s), 8)

    def service(self):
        subjects = SUBJECTS if self.personal else {}
        return registered_service(PERSONS, "127.0.0.1:1", DESCRIPTORS, **subjects)


@dataclass
class Refused:
    faults: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    unavailable: object = None

    async def record(self, request, fault):
        if self.unavailable:
            raise self.unavailable
        # As a server's own record does.
        fault.origin = HERE
        self.faults.append(fault)
        self.requests.append(request)


class Configuration:
    def current(self):
        return self

    def servers_of(self, subsystem):
        if subsystem != POPULATION:
            raise MemberUnknown(f"no {subsystem}")
        return (SimpleNamespace(id=THERE), SimpleNamespace(id=HERE))


class LocalLeg:
    def __init__(self, walk=None, *, clients=None, limits=None, now_s=monotonic):
        self.walk = walk or Walk()
        self.refused = Refused()
        self.service = LocalService(
            HERE,
            Registrations.of(clients or [LocalClient(TAX, plaintext_loopback=True)]),
            Configuration(),
            Descriptions(self.walk, now_s),
            self.walk,
            self.refused,
            limits or Limits(),
        )
        self.handler = LocalHandler(self.service)
        self.address = ""

    @asynccontextmanager
    async def connected(self):
        async with self.running(), self.channel() as channel:
            yield channel

    @asynccontextmanager
    async def running(self):
        listening = server(HERE)
        listening.add_generic_rpc_handlers((self.handler,))
        self.address = f"127.0.0.1:{listening.add_insecure_port('127.0.0.1:0')}"
        await listening.start()
        try:
            yield listening
        finally:
            await listening.stop(0)
            await self.service.recorded()

    @asynccontextmanager
    async def channel(self):
        # What a program gets without options, but for what it sends and takes.
        async with aio.insecure_channel(self.address, LARGE) as channel:
            yield channel


@dataclass
class Outcome:
    code: object
    message: str
    bodies: list
    initial: tuple
    trailing: dict


async def call(channel, method, *messages, metadata=NAMED, seconds=10, unary=True):
    """Call as any gRPC client would, and give all that came back."""
    path = f"/{method}"
    if unary:
        asked = channel.unary_stream(path)(
            *(messages or (b"asked",)), metadata=metadata, timeout=seconds
        )
    else:
        asked = channel.stream_stream(path)(
            _each(messages), metadata=metadata, timeout=seconds
        )
    bodies = []
    with suppress(aio.AioRpcError):
        async for body in asked:
            bodies.append(body)  # noqa: PERF401 - kept also when the status is an error
    return Outcome(
        await asked.code(),
        await asked.details(),
        bodies,
        tuple(await asked.initial_metadata()),
        dict(await asked.trailing_metadata()),
    )


async def _each(messages):
    for message in messages:
        yield message


def fault_in(outcome):
    return fault_of_status(outcome.trailing.items())


async def refused(leg, *, method=GET, **how):
    """Call once; give what came back, and the bus's fault in it."""
    async with leg.connected() as channel:
        outcome = await call(channel, method, **how)
    return outcome, fault_in(outcome)
