"""The local leg: an information system calls its own server as if it were the provider.

What a call has to say stands in its metadata. Each step below refuses with a fault of
its own, and the provider is not called:

1. the client is one of this server's, and this is how it may reach it (such a refusal
   is not recorded: a stranger must not be able to fill a ledger);
2. its metadata can be read and is small enough, and a server carries the service;
3. it has no more calls under way than it may;
4. the provider's server describes the service, and the method is one of its unary ones;
5. there is one message, and it is small enough.

Then the walk begins. A caller's deadline is kept a little short of, so that the fault
which ends the call still arrives; one that is further away than the limit counts as the
limit.
"""

import asyncio
import copy
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, NoReturn, Protocol, TypeVar

import structlog
from grpc import StatusCode, aio

from messaging.envelope import Identities, Request
from messaging.signers import Configured
from messaging.transport import (
    ORIGIN_KEY,
    end,
    internal,
    refusal,
)
from security_server.access_rights import Demands
from security_server.call_metadata import (
    MESSAGE_ID,
    RECORD,
    GrpcMetadata,
    to_grpc,
)
from security_server.local_leg.call import Call, Limits
from security_server.local_leg.description import Described, Descriptions, Exchange
from security_server.message_log import Answer
from security_server.registration.registrations import Registered
from security_server.registration.services import DESCRIBE
from vocabulary.faults import (
    Cancelled,
    ClientUnknown,
    DeadlineExceeded,
    Execution,
    Fault,
    LimitExceeded,
    MessageInvalid,
    after_execution,
)
from vocabulary.identifiers import SecurityServerId, SubsystemId

log = structlog.get_logger()

T = TypeVar("T")

# The status a call ends with when the service's own has a number gRPC does not know.
_STATUS_CODES: Final = {code.value[0]: code for code in StatusCode}
# ristmik-origin of a status that is not the bus's.
_OF_THE_SERVICE: Final = "service"


class Refusals(Protocol):
    async def record(self, request: Request | None, fault: Fault) -> None:
        """Record that a client of this server got a fault instead of an answer.

        There is no request where it cannot be said what was asked of whom. Raise
        LedgerUnavailable: then that is what the client is told.
        """


@dataclass(frozen=True, slots=True)
class _Answer:
    """What goes back, in gRPC's terms."""

    code: StatusCode
    message: str
    body: bytes | None
    initial_metadata: GrpcMetadata
    trailing_metadata: GrpcMetadata


class LocalService:
    def __init__(
        self,
        server: SecurityServerId,
        registrations: Registered,
        configuration: Configured,
        descriptions: Descriptions,
        consumer: Exchange,
        refusals: Refusals,
        limits: Limits | None = None,
    ) -> None:
        self._server = server
        self._registrations = registrations
        self._configuration = configuration
        self._descriptions = descriptions
        self._consumer = consumer
        self._refusals = refusals
        self.limits = limits or Limits()
        self._under_way: Counter[SubsystemId] = Counter()
        self._recording: set[asyncio.Task[None]] = set()
        # Callers that were not believed; they are counted, not recorded.
        self.strangers = 0

    async def exchange(self, call: Call) -> None:
        """Carry one call from its first message to its status."""
        answer = await self._or_refuse(call, self._exchange)
        context = call.context
        if answer.initial_metadata:
            await context.send_initial_metadata(answer.initial_metadata)
        if answer.body is not None:
            await context.write(answer.body)
        context.set_trailing_metadata(answer.trailing_metadata)
        context.set_code(answer.code)
        context.set_details(answer.message)

    async def describe(self, call: Call) -> Described:
        """Describe the service that a call names; a fault ends the call."""
        return await self._or_refuse(call, self._describe)

    async def recorded(self) -> None:
        """Wait until everything that was refused so far is recorded."""
        await asyncio.gather(*self._recording, return_exceptions=True)

    async def _or_refuse(self, call: Call, steps: Callable[[Call], Awaitable[T]]) -> T:
        """Give what the steps give; a fault is recorded and ends the call."""
        try:
            client = self._authenticate(call)
            self._read(call, client)
            with self._one_of(client):
                async with asyncio.timeout_at(call.end):
                    return await steps(call)
        except asyncio.CancelledError:
            self._forget(call)
            raise
        except Exception as error:  # noqa: BLE001 - a defect is a fault of its own
            refused = _fault_of(error, call)
        return await self._refuse(call, await self._recorded(call, refused))

    def _authenticate(self, call: Call) -> SubsystemId:
        client = call.metadata.client()
        if call.over_socket and client != call.socket_of:
            raise ClientUnknown(f"this socket is not that of {client}: use its own")
        if not call.over_socket and not call.from_this_machine:
            raise ClientUnknown(
                "a call without TLS comes from this machine only: call from here"
            )
        self._registrations.require_client(client, plaintext=not call.over_socket)
        call.client = client
        return client

    def _read(self, call: Call, client: SubsystemId) -> None:
        metadata, here = call.metadata, self._server
        named = metadata.named()
        # Until the provider's server is known, the call has come as far as this one.
        identities = Identities(named.message_id, client, named.service, "", here, here)
        call.request = Request(identities, b"")
        metadata.require_small()
        call.request = Request(
            identities,
            b"",
            metadata.purpose_block(),
            metadata.of_the_service(),
            metadata.represented(),
            metadata.trace_id(),
        )
        carriers = self._configuration.current().servers_of(named.service.provider)
        identities = replace(identities, provider_server=carriers[0].id)
        call.request = replace(call.request, identities=identities)

    @contextmanager
    def _one_of(self, client: SubsystemId) -> Iterator[None]:
        if self._under_way[client] >= self.limits.exchanges_per_client:
            raise LimitExceeded(
                f"concurrent exchanges: {client} has "
                f"{self.limits.exchanges_per_client} under way, which is the limit; "
                "wait for some of them to end"
            )
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]

    async def _exchange(self, call: Call) -> _Answer:
        demands = await self._require_offered(call)
        body = await self._only_message(call)
        call.request = replace(call.asked, body=body)
        call.walking = True
        answer = await self._consumer.exchange(
            call.request, call.left_s, demands=demands
        )
        with after_execution():
            return _answer_of(answer, call.request)

    async def _describe(self, call: Call) -> Described:
        return await self._descriptions.describe(call.asked)

    async def _require_offered(self, call: Call) -> Demands:
        """Say what the method demands; a fault unless it is unary.

        Only now is its name more than the caller's text, and said in what is kept.
        """
        identities = replace(call.asked.identities, method=call.method)
        if call.method == DESCRIBE:
            call.request = replace(call.asked, identities=identities)
            return Demands.NOTHING
        described = await self._descriptions.describe(call.asked)
        if _would_be_refused(call, described):
            described = await self._descriptions.describe(call.asked, fresh=True)
        described.description.unary_method(call.method)
        call.request = replace(call.asked, identities=identities)
        return described.demands(call.method)

    async def _only_message(self, call: Call) -> bytes:
        first = await call.context.read()
        if first is aio.EOF:
            raise MessageInvalid(
                f"{call.method} takes one message, and none came: send it, no larger "
                f"than {self.limits.message_octets} octets"
            )
        if await call.context.read() is not aio.EOF:
            raise MessageInvalid(
                f"{call.method} takes one message, and a second came: send one"
            )
        body = bytes(first)
        if len(body) > self.limits.message_octets:
            raise LimitExceeded(
                f"message: {len(body)} octets, and {self.limits.message_octets} is "
                "the limit; send a smaller one"
            )
        return body

    async def _recorded(self, call: Call, fault: Fault) -> Fault:
        """Record a refusal; give the fault to tell the caller."""
        if call.client is None:
            self.strangers += 1
            return fault
        if fault.recorded:
            # What a peer has signed was recorded when it came.
            return fault
        unrecorded: Fault
        try:
            # Shielded: a caller that leaves now is no reason to forget it.
            async with asyncio.timeout_at(call.last):
                await asyncio.shield(self._record(call, fault))
        except TimeoutError:
            # It is recorded all the same, unless the ledger turns out to be down.
            unrecorded = DeadlineExceeded(
                f"nothing could be recorded within {call.time_s:.3f} s: ask again with "
                "more time"
            )
        except Fault as refused:
            unrecorded = refused
        else:
            return fault
        unrecorded.execution = fault.execution
        return unrecorded

    def _forget(self, call: Call) -> None:
        if call.client is not None:
            gone = Cancelled("the caller no longer waits")
            _ = self._record(call, gone if call.walking else _sure(gone))

    def _record(self, call: Call, fault: Fault) -> "asyncio.Task[None]":
        # A copy: the record is this server's, whoever said it to us.
        recording = asyncio.create_task(
            self._refusals.record(call.request, copy.copy(fault))
        )
        self._recording.add(recording)
        recording.add_done_callback(self._end_recording)
        return recording

    def _end_recording(self, recording: "asyncio.Task[None]") -> None:
        self._recording.discard(recording)
        if not recording.cancelled() and (error := recording.exception()):
            log.error("a refusal could not be recorded", exc_info=error)

    async def _refuse(self, call: Call, fault: Fault) -> NoReturn:
        refused = refusal(fault, origin=self._server)
        if call.request is not None:
            message_id = call.request.identities.message_id
            trailers = (*refused.trailers, (MESSAGE_ID, message_id))
            refused = replace(refused, trailers=trailers)
        await end(call.context, refused)


def _fault_of(error: Exception, call: Call) -> Fault:
    match error:
        case Fault():
            fault: Fault = error
        case TimeoutError():
            fault = DeadlineExceeded(
                f"no answer within {call.time_s:.3f} s: ask again with more time"
            )
        case _:
            fault = internal(error)
    return fault if call.walking else _sure(fault)


def _sure(fault: Fault) -> Fault:
    """Mark a fault of before the walk: the provider was not called."""
    fault.execution = Execution.NOT_EXECUTED
    return fault


def _would_be_refused(call: Call, described: Described) -> bool:
    method = described.description.methods.get(call.method)
    if method is None or method.client_streaming or method.server_streaming:
        return True
    block = call.asked.purpose_block
    match described.demands(call.method):
        case Demands.NOTHING:
            return False
        case Demands.PURPOSE:
            return not (block.purpose and block.legal_basis)
        case Demands.PURPOSE_AND_SUBJECTS:
            return not (block.purpose and block.legal_basis and block.subjects)


def _answer_of(answer: Answer, request: Request) -> _Answer:
    response = answer.response
    trailing = (
        *to_grpc(response.trailing_metadata),
        (MESSAGE_ID, request.identities.message_id),
        (RECORD, str(answer.record_number)),
        (ORIGIN_KEY, _OF_THE_SERVICE),
    )
    return _Answer(
        _STATUS_CODES.get(response.status, StatusCode.UNKNOWN),
        response.message,
        response.body,
        to_grpc(response.initial_metadata),
        trailing,
    )
