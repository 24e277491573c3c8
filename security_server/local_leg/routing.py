"""Which calls on the local leg are for the bus, and which this server answers itself.

Health and reflection are answered here; where a call names a service, reflection is
about that service, as its provider has described it. All else is for the bus.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from messaging.transport import Context, Handler
from security_server.call_metadata import SERVICE
from security_server.local_leg.call import Call
from security_server.local_leg.service import LocalService
from security_server.reflection import METHODS, Reflection, reflection_handler
from vocabulary.identifiers import SubsystemId


class LocalHandler(grpc.GenericRpcHandler):
    """Goes on its server alone: gRPC asks handlers that are added by name first.

    `socket_of` is the subsystem whose Unix socket it serves, if it serves one.
    """

    def __init__(
        self, service: LocalService, *, socket_of: SubsystemId | None = None
    ) -> None:
        self._service = service
        self._socket_of = socket_of
        self.health = health.aio.HealthServicer()
        own = _Handlers()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, own)
        self._own = own.added
        names = (health.SERVICE_NAME, reflection.SERVICE_NAME)
        self._reflection = reflection_handler(Reflection(names).answers)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        method = handler_call_details.method.removeprefix("/")
        metadata = handler_call_details.invocation_metadata or ()
        if any(key == SERVICE for key, _ in metadata):
            return self._of_the_bus(method)
        if method in METHODS:
            return self._reflection
        for handler in self._own:
            if found := handler.service(handler_call_details):
                return found
        return self._of_the_bus(method)

    def _of_the_bus(self, method: str) -> Handler:
        def call(context: Context) -> Call:
            limits, socket_of = self._service.limits, self._socket_of
            return Call(method, context, limits, socket_of=socket_of)

        if method in METHODS:
            return reflection_handler(self._reflected(call))

        async def exchange(_requests: object, context: Context) -> None:
            await self._service.exchange(call(context))

        # Without serialisers: messages stay the bytes they are.
        handler: Handler = grpc.stream_stream_rpc_method_handler(cast("Any", exchange))
        return handler

    def _reflected(
        self, call: Callable[[Context], Call]
    ) -> Callable[
        [AsyncIterator[ServerReflectionRequest], Context],
        AsyncIterator[ServerReflectionResponse],
    ]:
        async def answers(
            questions: AsyncIterator[ServerReflectionRequest], context: Context
        ) -> AsyncIterator[ServerReflectionResponse]:
            described = (await self._service.describe(call(context))).description
            about = Reflection(described.grpc_services, described.pool)
            async for answer in about.answers(questions, context):
                yield answer

        return answers


class _Handlers:
    """Takes what generated code would add to a server, to be asked last."""

    def __init__(self) -> None:
        self.added: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(
        self, handlers: Iterable[grpc.GenericRpcHandler]
    ) -> None:
        self.added += handlers

    def add_registered_method_handlers(self, *_: object) -> None:
        """Leave them out: gRPC would ask them first."""
