"""Serve one agency's system: its services, health and reflection, until SIGTERM."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import StatusCode, aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from examples.agencies.personal_codes import parse_person_id

GRACE_S = 2.0

Context: TypeAlias = aio.ServicerContext[Any, Any]


def main(what: str, service: str, add: Callable[[aio.Server], None]) -> int:
    """Serve `service` (full name), which `add` adds; give the exit status."""
    parser = argparse.ArgumentParser(description=f"The {what}'s own gRPC system.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    arguments = parser.parse_args()
    try:
        asyncio.run(serve(what, service, add, listen=arguments.listen))
    except OSError as error:
        print(error, file=sys.stderr)  # noqa: T201 - what the user is told
        return 1
    return 0


async def serve(
    what: str, service: str, add: Callable[[aio.Server], None], *, listen: str
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    port = await prepare(server, service, add, listen=listen)
    await server.start()
    host = listen.rpartition(":")[0]
    print(f"the {what} listens on {host}:{port}", file=sys.stderr)  # noqa: T201 - the same
    await stopping.wait()
    await server.stop(GRACE_S)


async def prepare(
    server: aio.Server, service: str, add: Callable[[aio.Server], None], *, listen: str
) -> int:
    """Add the service, health and reflection; give the port it will listen on."""
    add(server)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    names = (service, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    try:
        return server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {listen}: is it taken?") from error


async def known_person_id(text: str, context: Context, *, field: str) -> str:
    """Give a well-formed identifier back, or end the call with INVALID_ARGUMENT."""
    try:
        parse_person_id(text)
    except ValueError as error:
        await invalid(context, field=field, description=str(error))
    return text


async def invalid(context: Context, *, field: str, description: str) -> NoReturn:
    """End the call, naming the field at fault in `google.rpc.BadRequest`."""
    violation = error_details_pb2.BadRequest.FieldViolation(
        field=field, description=description
    )
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    status = status_pb2.Status(
        code=code_pb2.INVALID_ARGUMENT, message=f"{field}: {description}"
    )
    status.details.append(detail)
    await context.abort(
        StatusCode.INVALID_ARGUMENT,
        status.message,
        (("grpc-status-details-bin", status.SerializeToString()),),
    )
    raise RuntimeError("abort always raises")


async def not_found(context: Context, what: str) -> NoReturn:
    await context.abort(StatusCode.NOT_FOUND, what)
    raise RuntimeError("abort always raises")
