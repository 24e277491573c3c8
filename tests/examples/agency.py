"""An agency's system on loopback, and what a client sees of its refusals."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from examples.agencies.serving import prepare


@asynccontextmanager
async def running(
    service: str, add: Callable[[aio.Server], None]
) -> AsyncIterator[str]:
    server = aio.server()
    port = await prepare(server, service, add, listen="127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def fields_at_fault(error: aio.AioRpcError) -> list[str]:
    trailers = dict(error.trailing_metadata() or ())
    details = trailers["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    status = status_pb2.Status.FromString(details)
    assert status.code == error.code().value[0]
    found = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(found)
    return [violation.field for violation in found.field_violations]
