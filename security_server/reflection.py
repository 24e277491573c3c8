"""gRPC server reflection: asked of a member's system, and answered from descriptors.

v1 and v1alpha are the same messages under two names; both are spoken.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc import StatusCode, aio
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from messaging.transport import OPTIONS, Context, Handler
from security_server.registration.services import ABOUT_ITSELF, DESCRIPTORS_LIMIT
from vocabulary.faults import (
    Execution,
    Fault,
    LimitExceeded,
    RegistrationInvalid,
    SystemUnreachable,
)

METHODS: Final = (
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
TIMEOUT_S: Final = 10.0
FILES_LIMIT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Reflected:
    """The services that a system lists, and the descriptors behind them."""

    descriptors: bytes
    # None: all that the descriptors have.
    grpc_services: tuple[str, ...] | None


async def reflect(address: str) -> Reflected:
    """Ask the system at `address` what it offers.

    Raise SystemUnreachable, RegistrationInvalid if it does not say, or LimitExceeded.
    """
    async with aio.insecure_channel(address, OPTIONS) as channel:
        for method in METHODS:
            try:
                return await _System(channel, method).reflected()
            except aio.AioRpcError as error:
                if error.code() is not StatusCode.UNIMPLEMENTED:
                    raise _unreachable(address, error) from error
            except DecodeError as error:
                raise RegistrationInvalid(
                    f"what {address} answers to reflection cannot be read: register "
                    "the service from a descriptor file"
                ) from error
    raise RegistrationInvalid(
        f"the system at {address} has no reflection: register the service from a "
        "descriptor file"
    )


class _System:
    """One question a call: what a system ends a stream with early is never lost."""

    def __init__(self, channel: aio.Channel, method: str) -> None:
        self._ask_raw: aio.UnaryStreamMultiCallable[bytes, bytes] = (
            channel.unary_stream(f"/{method}")
        )
        self._files: dict[str, FileDescriptorProto] = {}
        self._octets = 0

    async def reflected(self) -> Reflected:
        listed = await self._ask(ServerReflectionRequest(list_services=""))
        services = tuple(
            service.name
            for service in listed.list_services_response.service
            if service.name not in ABOUT_ITSELF
        )
        for name in services:
            await self._take(ServerReflectionRequest(file_containing_symbol=name))
        while missing := self._missing():
            for name in missing:
                await self._take(ServerReflectionRequest(file_by_filename=name))
        files = FileDescriptorSet(file=self._files.values())
        return Reflected(files.SerializeToString(), services)

    def _missing(self) -> list[str]:
        imported = {
            name: None for file in self._files.values() for name in file.dependency
        }
        return [name for name in imported if name not in self._files]

    async def _take(self, request: ServerReflectionRequest) -> None:
        answer = await self._ask(request)
        asked = request.file_by_filename or request.file_containing_symbol
        files = answer.file_descriptor_response.file_descriptor_proto
        for content in files:
            file = FileDescriptorProto.FromString(content)
            if file.name not in self._files:
                self._octets += len(content)
                self._files[file.name] = file
        if self._octets > DESCRIPTORS_LIMIT or len(self._files) > FILES_LIMIT:
            raise LimitExceeded(
                f"descriptors: {DESCRIPTORS_LIMIT} octets in {FILES_LIMIT} files is "
                "the limit; register the service from a smaller descriptor file"
            )
        if not files or (request.file_by_filename and asked not in self._files):
            raise RegistrationInvalid(
                f"the system's reflection has no descriptor of {asked[:200]!r}: "
                "register the service from a descriptor file"
            )

    async def _ask(self, request: ServerReflectionRequest) -> ServerReflectionResponse:
        call = self._ask_raw(request.SerializeToString(), timeout=TIMEOUT_S)
        try:
            async for answer in call:
                return ServerReflectionResponse.FromString(answer)
        finally:
            call.cancel()
        raise RegistrationInvalid(
            "the system's reflection did not answer: register the service from a "
            "descriptor file"
        )


def _unreachable(address: str, error: aio.AioRpcError) -> Fault:
    fault = SystemUnreachable(
        f"{address} could not be asked what it offers ({error.code().name}: "
        f"{error.details()}): start the system, or register the service from a "
        "descriptor file"
    )
    fault.execution = Execution.NOT_EXECUTED
    return fault


class Reflection:
    """Answers reflection about `services`, from `pool` or what this Python holds."""

    def __init__(
        self, services: Sequence[str], pool: DescriptorPool | None = None
    ) -> None:
        self._servicer = reflection.aio.ReflectionServicer(services, pool=pool)

    def answers(
        self, questions: AsyncIterator[ServerReflectionRequest], context: Context
    ) -> AsyncIterator[ServerReflectionResponse]:
        answers: AsyncIterator[ServerReflectionResponse] = (
            self._servicer.ServerReflectionInfo(questions, context)
        )
        return answers


def reflection_handler(
    answers: Callable[
        [AsyncIterator[ServerReflectionRequest], Context],
        AsyncIterator[ServerReflectionResponse],
    ],
) -> Handler:
    """Give the handler of both METHODS."""

    # grpc.aio takes the function itself for what it is: it has to yield.
    async def yielding(
        questions: AsyncIterator[ServerReflectionRequest], context: Context
    ) -> AsyncIterator[ServerReflectionResponse]:
        async for answer in answers(questions, context):
            yield answer

    return grpc.stream_stream_rpc_method_handler(
        cast("Any", yielding),
        request_deserializer=ServerReflectionRequest.FromString,
        response_serializer=ServerReflectionResponse.SerializeToString,
    )
