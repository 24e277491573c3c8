"""What a service offers: told to peers, and asked of the provider's server.

Asking is an exchange like any other, signed and recorded on both sides, in the name of
the client that wants to call; it needs no right. An answer is kept for a minute and
shared. A failure is not kept, nor is an old answer a reason to refuse: whoever is about
to refuse asks again first (`fresh`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

from google.protobuf.message import DecodeError

from messaging.envelope import Request
from protos.v1.exchange_pb2 import DescribeRequest, DescribeResponse
from security_server.access_rights import Demands
from security_server.call_metadata import new_message_id
from security_server.message_log import Answer
from security_server.registration.services import (
    DESCRIBE,
    RegisteredService,
    ServiceDescription,
)
from vocabulary.faults import Execution, Fault, MessageInvalid, RegistrationInvalid
from vocabulary.identifiers import ServiceId, SubsystemId

KEPT_S: Final = 60.0
FRESH_S: Final = 1.0
TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Described:
    """A service as its provider has registered it."""

    description: ServiceDescription
    personal: bool
    identifying_methods: frozenset[str]

    def demands(self, method: str) -> Demands:
        """What the provider will demand of a call; it is demanded here first."""
        identifying = method in self.identifying_methods
        return Demands.of(personal=self.personal, identifying=identifying)


class Exchange(Protocol):
    """The consumer's half of the walk."""

    async def exchange(
        self,
        request: Request,
        timeout_s: float,
        *,
        demands: Demands = Demands.NOTHING,
    ) -> Answer: ...


@dataclass(frozen=True, slots=True)
class _Held:
    described: Described
    asked_at: float


_Asking: TypeAlias = "asyncio.Task[Described]"


class Descriptions:
    def __init__(self, consumer: Exchange, now_s: Callable[[], float]) -> None:
        self._consumer = consumer
        self._now_s = now_s
        self._held: dict[ServiceId, _Held] = {}
        self._asking: dict[tuple[SubsystemId, ServiceId], _Asking] = {}

    async def describe(self, request: Request, *, fresh: bool = False) -> Described:
        """Describe the service that `request` names; who waits for the same shares it.

        Raise what the provider's server says, or why it cannot be asked. Whatever it
        is, the request itself was not executed.
        """
        named = request.identities
        held = self._held.get(named.service)
        limit = FRESH_S if fresh else KEPT_S
        if held is not None and self._now_s() - held.asked_at < limit:
            return held.described
        # Of one client only: another one may have no business here.
        key = (named.client, named.service)
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(request))
            self._asking[key].add_done_callback(lambda asked: self._end(key, asked))
        try:
            # Shielded: a caller that gives up does not take the answer from the others.
            return await asyncio.shield(self._asking[key])
        except Fault as fault:
            raise _of_the_call(fault) from fault

    def _end(self, key: tuple[SubsystemId, ServiceId], asked: _Asking) -> None:
        del self._asking[key]
        if not asked.cancelled():
            # Looked at, so that it is no loss if nobody waits any longer.
            asked.exception()

    async def _ask(self, request: Request) -> Described:
        now = self._now_s()
        answer = await self._consumer.exchange(_question(request), TIMEOUT_S)
        response = answer.response
        if response.status or response.body is None:
            raise MessageInvalid(
                f"{request.identities.provider_server} did not describe the service "
                f"(status {response.status}): its server has to be mended"
            )
        described = read_description(response.body)
        self._forget_old(now)
        self._held[request.identities.service] = _Held(described, now)
        return described

    def _forget_old(self, now: float) -> None:
        self._held = {
            service: held
            for service, held in self._held.items()
            if now - held.asked_at < KEPT_S
        }


def describe(service: RegisteredService) -> bytes:
    """Answer what a peer's server asks about a registered service."""
    return DescribeResponse(
        descriptors=service.description.descriptors,
        grpc_services=service.description.grpc_services,
        personal=service.personal,
        identifying_methods=[
            name
            for name, method in service.description.methods.items()
            if method.identifying
        ],
    ).SerializeToString()


def read_description(body: bytes) -> Described:
    """Read a peer's answer; MessageInvalid if it describes nothing."""
    try:
        said = DescribeResponse.FromString(body)
        description = ServiceDescription(said.descriptors, said.grpc_services)
    except (DecodeError, RegistrationInvalid) as error:
        raise MessageInvalid(
            f"the provider's description cannot be read ({error}): it has to register "
            "the service again"
        ) from error
    identifying = frozenset(said.identifying_methods)
    return Described(description, said.personal, identifying)


def _question(request: Request) -> Request:
    identities = replace(
        request.identities, message_id=new_message_id(), method=DESCRIBE
    )
    return Request(
        identities,
        DescribeRequest().SerializeToString(),
        represented=request.represented,
        trace_id=request.trace_id,
    )


def _of_the_call(fault: Fault) -> Fault:
    """Say the same of the call that asked; that one was not even sent."""
    said = type(fault)(fault.detail)
    said.origin = fault.origin
    said.execution = Execution.NOT_EXECUTED
    return said
