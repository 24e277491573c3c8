"""Call the member's own gRPC system.

One message goes out and one comes back, as bytes. The status the system ends the call
with passes unchanged, whatever it is; a fault is only what the bus has to say itself:

* no connection could be made: SYSTEM_UNREACHABLE, not executed;
* the connection was lost: SYSTEM_UNREACHABLE, and nobody knows;
* the caller's time is over: DEADLINE_EXCEEDED, and nobody knows;
* the answer is too large, or not one message of the type described: executed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from grpc import ChannelConnectivity, StatusCode, aio

from messaging.envelope import Metadata, Request, Response
from messaging.limits import require_small_metadata
from messaging.transport import MESSAGE_LIMIT, OPTIONS
from security_server.access_rights import AuthorisedRequest
from security_server.call_metadata import (
    from_grpc,
    identities_to_grpc,
    to_grpc,
)
from security_server.local_leg.description import describe
from security_server.message_log import Logged
from security_server.registration.services import DESCRIBE, RegisteredService
from vocabulary.faults import (
    DeadlineExceeded,
    Execution,
    Fault,
    LimitExceeded,
    MessageInvalid,
    SystemUnreachable,
    after_execution,
    before_execution,
)

Method: TypeAlias = aio.UnaryStreamMultiCallable[bytes, bytes]
Call: TypeAlias = aio.UnaryStreamCall[bytes, bytes]

CONNECT_TIMEOUT_S: Final = 5.0
# A system that was away is tried again every second; a call waits for one such try.
_RECONNECT_S: Final = 1.5
_OPTIONS: Final = (
    *OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # What a name server says decides nothing here, least of all whether to repeat.
    ("grpc.service_config_disable_resolution", 1),
)
# The core's timers and ours do not end in the same millisecond.
_NEARLY_S: Final = 0.05
# How the C core words statuses of its own; checked against the pinned version by tests.
_STREAM_REMOVED: Final = "Stream removed ("
_TOO_LARGE: Final = "larger than max"
_CORE_STATUSES: Final = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.UNKNOWN,
        StatusCode.INTERNAL,
        StatusCode.CANCELLED,
    }
)


class InformationSystem:
    """Keeps a channel to each address; plaintext, on the agency's own network."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._channels: dict[str, aio.Channel] = {}

    async def call(
        self, received: Logged[AuthorisedRequest], timeout_s: float
    ) -> Response:
        """Call once. What a peer asks of the registration is answered from it."""
        request, service = received.subject.request, received.subject.service
        if request.identities.method == DESCRIBE:
            return Response(0, describe(service))
        end = self._now_s() + timeout_s
        channel = self._channel(service.address)
        with before_execution():
            metadata = (*to_grpc(request.metadata), *identities_to_grpc(request))
            await _connect(channel, service, timeout_s)
        ask: Method = channel.unary_stream(f"/{request.identities.method}")
        call = ask(request.body, timeout=max(end - self._now_s(), 0), metadata=metadata)
        try:
            response = await self._answer(call, channel, service, end)
        finally:
            call.cancel()
        with after_execution():
            return _with_subjects(response, request, service)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    def _channel(self, address: str) -> aio.Channel:
        if address not in self._channels:
            self._channels[address] = aio.insecure_channel(address, _OPTIONS)
        return self._channels[address]

    async def _answer(
        self, call: Call, channel: aio.Channel, service: RegisteredService, end: float
    ) -> Response:
        body: bytes | None = None
        try:
            async for message in call:
                if body is not None:
                    raise _executed(
                        MessageInvalid(
                            "the service sent a second message where its descriptor "
                            "has one: its system has to be mended"
                        )
                    )
                body = message
        except aio.AioRpcError as error:
            late = self._now_s() >= end - _NEARLY_S
            if fault := _of_the_core(error, channel, service, late=late):
                raise fault from error
        with after_execution():
            return await _response(call, body)


async def _connect(
    channel: aio.Channel, service: RegisteredService, timeout_s: float
) -> None:
    """Return once connected, or raise a fault: nothing was sent."""
    ready, failed = ChannelConnectivity.READY, ChannelConnectivity.TRANSIENT_FAILURE
    state = channel.get_state(try_to_connect=True)
    if state is ready:
        return
    trying = _RECONNECT_S if state is failed else CONNECT_TIMEOUT_S
    try:
        async with asyncio.timeout(min(trying, timeout_s)):
            while state is not ready:
                before = state
                await channel.wait_for_state_change(before)
                state = channel.get_state(try_to_connect=True)
                if state is failed and before is not failed:
                    break
    except TimeoutError as error:
        if timeout_s < trying:
            raise DeadlineExceeded(
                f"no connection to the system of {service.id} within "
                f"{timeout_s:.3f} s: ask again with more time"
            ) from error
    if state is not ready:
        raise SystemUnreachable(
            f"the system of {service.id} does not listen at {service.address}: start "
            "it, or register the address it has"
        )


def _of_the_core(
    error: aio.AioRpcError,
    channel: aio.Channel,
    service: RegisteredService,
    *,
    late: bool,
) -> Fault | None:
    """Give the fault behind a status that the system did not send; None if it did.

    grpc.aio does not say which is which. A status of the system's own leaves the
    connection up, and only a system sends trailing metadata.
    """
    code, details = error.code(), error.details() or ""
    if error.trailing_metadata():
        return None
    if code is StatusCode.DEADLINE_EXCEEDED and late:
        return DeadlineExceeded(
            f"the system of {service.id} did not answer in time: ask again with more"
        )
    removed = details.startswith(_STREAM_REMOVED)
    if removed and code is StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in details:
        return _executed(_too_large())
    connected = channel.get_state() is ChannelConnectivity.READY
    if removed or (code in _CORE_STATUSES and not connected):
        return SystemUnreachable(
            f"the connection to the system of {service.id} was lost ({details}): look "
            "there for what became of the call"
        )
    return None


async def _response(call: Call, body: bytes | None) -> Response:
    if body is not None and len(body) > MESSAGE_LIMIT:
        raise _too_large()
    return Response(
        status=(await call.code()).value[0],
        body=body,
        message=await call.details() or "",
        initial_metadata=_metadata(await call.initial_metadata()),
        trailing_metadata=_metadata(await call.trailing_metadata()),
    )


def _metadata(received: aio.Metadata | None) -> Metadata:
    entries = tuple((key, value) for key, value in received or ())
    require_small_metadata(entries)
    return from_grpc(entries)


def _with_subjects(
    response: Response, request: Request, service: RegisteredService
) -> Response:
    if not service.personal or response.body is None:
        return response
    found = service.description.response_subjects(
        request.identities.method, response.body
    )
    return replace(response, subjects=found)


def _too_large() -> LimitExceeded:
    return LimitExceeded(
        f"message: {MESSAGE_LIMIT} octets is the limit, and the answer has more; ask "
        "for less at a time"
    )


def _executed(fault: Fault) -> Fault:
    fault.execution = Execution.EXECUTED
    return fault
