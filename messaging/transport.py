"""gRPC servers and channels: faults as statuses, administrative sockets, TLS.

No domain step is in here: an interceptor maps faults and nothing else.
"""

import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc import StatusCode, aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from messaging.wire.faults import fault_from_pb, fault_to_pb
from protos.v1 import fault_pb2
from vocabulary.faults import Fault, Internal
from vocabulary.identifiers import SecurityServerId

log = structlog.get_logger()

MIB = 1 << 20
# design: "message 16 MiB unary, metadata 16 KiB". gRPC's own limits sit above ours, so
# that ours are enforced, answered and recorded in our code.
MESSAGE_LIMIT = 16 * MIB
METADATA_LIMIT = 16 << 10
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT + MIB),
    ("grpc.max_send_message_length", MESSAGE_LIMIT + MIB),
    # The soft limit is the hard one: between the two gRPC refuses at random.
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.absolute_max_metadata_size", 64 << 10),
    ("grpc.so_reuseport", 0),
    # Peers and members' systems are reached directly, whatever the environment says.
    ("grpc.enable_http_proxy", 0),
)

DETAILS_KEY = "grpc-status-details-bin"
ORIGIN_KEY = "ristmik-origin"

# One status for each fault; the exchange contract has the reasons.
STATUSES: Final = {
    StatusCode.INVALID_ARGUMENT: """FRAME_UNEXPECTED PART_UNEXPECTED HEAD_INVALID
        METADATA_INVALID MESSAGE_INVALID PURPOSE_MISSING PURPOSE_UNKNOWN
        LEGAL_BASIS_MISSING LEGAL_BASIS_UNKNOWN SUBJECT_MISSING SUBJECT_MISMATCH
        REGISTRATION_INVALID""",
    StatusCode.NOT_FOUND: """MEMBER_UNKNOWN SERVICE_UNKNOWN REQUEST_UNKNOWN
        RIGHT_UNKNOWN ENTRY_UNKNOWN""",
    StatusCode.UNIMPLEMENTED: "METHOD_UNKNOWN STREAMING_NOT_OFFERED",
    StatusCode.UNAUTHENTICATED: "CLIENT_UNKNOWN SIGNATURE_INVALID",
    StatusCode.PERMISSION_DENIED: """ACCESS_DENIED NOT_REGISTERED SIGNER_MISMATCH
        PEER_MISMATCH CERTIFICATE_UNKNOWN CERTIFICATE_INVALID CERTIFICATE_REVOKED""",
    StatusCode.ALREADY_EXISTS: "REPLAYED ALREADY_REGISTERED",
    StatusCode.FAILED_PRECONDITION: """CONFIGURATION_EXPIRED
        CONFIGURATION_ROLLED_BACK CONFIGURATION_INVALID OUTSIDE_ACCEPTANCE_WINDOW
        REFERENCE_UNKNOWN TIME_STAMP_INVALID""",
    StatusCode.DATA_LOSS: "FIELDS_INVALID RESPONSE_INCONSISTENT",
    StatusCode.UNAVAILABLE: """PEER_UNREACHABLE SYSTEM_UNREACHABLE LEDGER_UNAVAILABLE
        CERTIFICATE_STATUS_UNKNOWN TIME_STAMPING_FAILED""",
    StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    StatusCode.RESOURCE_EXHAUSTED: "LIMIT_EXCEEDED",
    StatusCode.CANCELLED: "CANCELLED",
    StatusCode.INTERNAL: "INTERNAL",
}
STATUS_OF: Final = {
    code: status for status, codes in STATUSES.items() for code in codes.split()
}

Trailers: TypeAlias = tuple[tuple[str, str | bytes], ...]
Context: TypeAlias = aio.ServicerContext[Any, Any]
# Generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A fault as the end of a gRPC call."""

    status: StatusCode
    message: str
    trailers: Trailers


def refusal(fault: Fault, *, origin: SecurityServerId | str) -> Refusal:
    """Give the status that a fault ends a call with.

    Its details are a `ristmik.v1.Fault` and, if a peer has signed it, the serialised
    `ristmik.v1.SignedPart` that proves so.
    """
    if isinstance(origin, SecurityServerId) and fault.origin is None:
        fault.origin = origin
    status, message = STATUS_OF[fault.code], f"{fault.code}: {fault.detail}"
    details = status_pb2.Status(code=status.value[0], message=message)
    details.details.add().Pack(fault_to_pb(fault))
    if fault.proof:
        details.details.add(
            type_url="type.googleapis.com/ristmik.v1.SignedPart", value=fault.proof
        )
    said_by = str(fault.origin or origin)
    trailers = (
        (DETAILS_KEY, details.SerializeToString()),
        (ORIGIN_KEY, said_by),
    )
    return Refusal(status, message, trailers)


def fault_of_status(trailers: Iterable[tuple[str, str | bytes]] | None) -> Fault | None:
    """Give the bus's own fault that a call ended with, if it did end with one.

    Details that cannot be read are another's, and no fault of the bus.
    """
    with suppress(DecodeError, ValueError):
        for key, value in trailers or ():
            if key == DETAILS_KEY and isinstance(value, bytes):
                for detail in status_pb2.Status.FromString(value).details:
                    pb = fault_pb2.Fault()
                    if detail.Unpack(pb):
                        return fault_from_pb(pb)
    return None


def internal(error: BaseException) -> Internal:
    """Log a defect of ours and give the fault that names its log line."""
    reference = secrets.token_hex(6)
    log.error("internal", reference=reference, exc_info=error)
    return Internal(
        f"an internal error; the server's log has it under reference {reference}"
    )


class FaultMapping(aio.ServerInterceptor):
    """Turns a Fault of a unary method into its status, anything else into INTERNAL."""

    def __init__(self, origin: SecurityServerId | str) -> None:
        self._origin = origin

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        # grpc's types know the threaded stack's methods only; here they are coroutines.
        answer = cast("Callable[[Any, Context], Awaitable[Any]]", handler.unary_unary)

        async def mapped(request: object, context: Context) -> object:
            try:
                return await answer(request, context)
            except Fault as fault:
                await end(context, refusal(fault, origin=self._origin))
            except aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - a defect must not leak detail
                await end(context, refusal(internal(error), origin=self._origin))

        return grpc.unary_unary_rpc_method_handler(
            cast("Any", mapped),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


async def end(context: Context, refused: Refusal) -> NoReturn:
    await context.abort(refused.status, refused.message, refused.trailers)
    raise RuntimeError("abort always raises")


def server(origin: SecurityServerId | str) -> aio.Server:
    return aio.server(interceptors=[FaultMapping(origin)], options=list(OPTIONS))


def add_health(to: aio.Server) -> "health.aio.HealthServicer":
    """Answer grpc.health.v1; the overall status ("") is SERVING from the start."""
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, to)
    return servicer


def add_reflection(to: aio.Server, services: Sequence[str]) -> None:
    """Answer reflection for `services` (full names), health and reflection itself."""
    names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, to)


async def set_serving(
    servicer: "health.aio.HealthServicer", *, serving: bool, service: str = ""
) -> None:
    states = health_pb2.HealthCheckResponse
    await servicer.set(service, states.SERVING if serving else states.NOT_SERVING)


def bind(
    to: aio.Server, address: str, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Listen on host:port, without TLS if there are no credentials, and give the port.

    Raise OSError that names the address if that fails.
    """
    try:
        if credentials is not None:
            return to.add_secure_port(address, credentials)
        return to.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: is it taken?") from error


def bind_socket(to: aio.Server, path: Path) -> None:
    """Listen on a Unix socket that only this user may open (0600).

    A socket that a killed process left is replaced; one that answers is an OSError.
    """
    _remove_dead_socket(path)
    with _umask(0o177):
        to.add_insecure_port(f"unix:{path}")
    path.chmod(0o600)


def _remove_dead_socket(path: Path) -> None:
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
        else:
            raise OSError(f"another process listens on {path}: stop it first")


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
