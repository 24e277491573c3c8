"""An information system that calls its own security server, as the contract has it.

It is any gRPC client that sets metadata: it knows no part of the product but the
message of a fault, `ristmik.v1.Fault`.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from google.rpc import status_pb2
from grpc import StatusCode, aio

from examples.agencies.population.v1 import population_pb2
from protos.v1 import fault_pb2

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
Value: TypeAlias = str | Sequence[str] | None
Call: TypeAlias = "aio.UnaryUnaryCall[bytes, bytes] | aio.StreamUnaryCall[bytes, bytes]"

TIMEOUT_S = 30.0
OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 1 << 20),
    # Channels of one process to one address would share a connection.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True)
class Outcome:
    """How one call ended."""

    code: StatusCode
    details: str
    body: bytes | None
    initial: Metadata
    trailers: Metadata

    def trailer(self, key: str) -> str | bytes | None:
        values = [value for name, value in self.trailers if name == key]
        assert len(values) <= 1, (key, values)
        return values[0] if values else None

    @property
    def origin(self) -> str | bytes | None:
        return self.trailer("ristmik-origin")

    @property
    def message_id(self) -> str:
        value = self.trailer("ristmik-message-id")
        assert isinstance(value, str), self
        return value

    @property
    def faults(self) -> list[fault_pb2.Fault]:
        """Every `ristmik.v1.Fault` in `grpc-status-details-bin`."""
        details = self.trailer("grpc-status-details-bin")
        if details is None:
            return []
        assert isinstance(details, bytes)
        status = status_pb2.Status.FromString(details)
        found = []
        for each in status.details:
            fault = fault_pb2.Fault()
            if each.Unpack(fault):
                found.append(fault)
        return found

    @property
    def fault(self) -> fault_pb2.Fault:
        (fault,) = self.faults
        return fault

    @property
    def refusal(self) -> tuple[str, str, str]:
        """Code, execution and origin of the fault; the trailer must agree with it."""
        fault = self.fault
        origin = fault.origin
        said_by = "/".join(
            (
                *(origin.owner.instance, origin.owner.member_class),
                *(origin.owner.member_code, origin.server_code),
            )
        )
        assert said_by == self.origin, self
        assert fault.detail, self
        return (
            fault_pb2.FaultCode.Name(fault.code).removeprefix("FAULT_CODE_"),
            fault_pb2.Execution.Name(fault.execution).removeprefix("EXECUTION_"),
            said_by,
        )


@dataclass(frozen=True)
class Example:
    """The call of the document's "example"."""

    method: str
    body: bytes
    keys: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Example":
        said = document["example"]
        request = population_pb2.GetPersonRequest(person_id=said["subject"])
        keys = ("client", "service", "subject", "purpose", "legal_basis")
        return cls(
            said["method"],
            request.SerializeToString(),
            {key: said[key] for key in keys},
        )

    def metadata(self, **changed: Value) -> Metadata:
        """Give the metadata of the call; None leaves a key out, several repeat it."""
        return tuple(
            (f"ristmik-{key.replace('_', '-')}", each)
            for key, value in {**self.keys, **changed}.items()
            for each in _each(value)
        )


async def ask(
    channel: aio.Channel,
    method: str,
    body: bytes,
    metadata: Iterable[tuple[str, str | bytes]] = (),
    *,
    timeout_s: float | None = TIMEOUT_S,
) -> Outcome:
    """Call one unary method with bytes, and give whatever comes of it."""
    stub: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{method}")
    return await outcome_of(stub(body, metadata=tuple(metadata), timeout=timeout_s))


async def ask_with(
    channel: aio.Channel,
    method: str,
    bodies: Sequence[bytes],
    metadata: Iterable[tuple[str, str | bytes]] = (),
) -> Outcome:
    """Call with any number of messages, as a client that is mistaken may."""
    stub: aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(
        f"/{method}"
    )
    call = stub(iter(bodies), metadata=tuple(metadata), timeout=TIMEOUT_S)
    return await outcome_of(call)


async def outcome_of(call: Call) -> Outcome:
    """Wait for whatever comes of a call that was begun."""
    answer: bytes | None = None
    try:
        answer = await call
    except aio.AioRpcError as error:
        return Outcome(
            error.code(),
            error.details() or "",
            None,
            _pairs(error.initial_metadata()),
            _pairs(error.trailing_metadata()),
        )
    return Outcome(
        await call.code(),
        await call.details() or "",
        answer,
        _pairs(await call.initial_metadata()),
        _pairs(await call.trailing_metadata()),
    )


def new_message_id() -> str:
    """Make a UUIDv7 (RFC 9562 §5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    version, variant = 0x7 << 76, 0b10 << 62
    kept = ((1 << 12) - 1) << 64 | (1 << 62) - 1
    return str(UUID(int=milliseconds << 80 | version | variant | random & kept))


def _each(value: Value) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _pairs(metadata: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
    return tuple((key, value) for key, value in metadata or ())
