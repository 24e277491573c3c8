"""Asking the parts of an instance whether they are ready.

A check first looks whether anybody listens, which costs next to nothing, because a
program is asked many times while it starts and others want the processor.
"""

import asyncio
from contextlib import suppress

import grpc
import httpx2
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.sandbox.supervisor import Check, NotReady

_ANSWER_WITHIN_S = 5.0
_SERVING = health_pb2.HealthCheckResponse.SERVING


def grpc_health(target: str) -> Check:
    """Check the overall status of a gRPC server, `host:port` or `unix:path`."""

    async def check() -> None:
        await _somebody_listens(target)
        # A proxy set in the environment must not see calls within the machine.
        options = (("grpc.enable_http_proxy", 0),)
        async with aio.insecure_channel(target, options=options) as channel:
            try:
                answer = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=_ANSWER_WITHIN_S
                )
            except grpc.RpcError as error:
                raise NotReady(f"{target}: {error.details()}") from error
        if answer.status != _SERVING:
            status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
            raise NotReady(f"{target} says {status}")

    return check


def http_health(url: str) -> Check:
    """Check that GET answers 200."""

    async def check() -> None:
        address = httpx2.URL(url)
        await _somebody_listens(f"{address.host}:{address.port}")
        async with httpx2.AsyncClient(trust_env=False) as client:
            try:
                answer = await client.get(url, timeout=_ANSWER_WITHIN_S)
            except httpx2.HTTPError as error:
                raise NotReady(f"{url}: {error!r}") from error
        if answer.status_code != httpx2.codes.OK:
            raise NotReady(f"{url} says {answer.status_code}: {answer.text[:300]}")

    return check


def all_of(*checks: Check) -> Check:
    async def check() -> None:
        for each in checks:
            await each()

    return check


async def _somebody_listens(target: str) -> None:
    try:
        if target.startswith("unix:"):
            opening = asyncio.open_unix_connection(target.removeprefix("unix:"))
        else:
            host, _, port = target.rpartition(":")
            opening = asyncio.open_connection(host, int(port))
        _, writer = await asyncio.wait_for(opening, _ANSWER_WITHIN_S)
    except OSError as error:
        raise NotReady(f"nobody listens on {target}") from error
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
