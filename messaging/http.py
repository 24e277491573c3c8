"""A service's HTTP edge, in the same event loop as its gRPC."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

log = structlog.get_logger()

GRACE_S = 2


class HttpServer(uvicorn.Server):
    """Serves until cancelled; signals are the program's, not uvicorn's."""

    def __init__(self, application: Starlette) -> None:
        application.add_exception_handler(Exception, _defect)
        super().__init__(
            uvicorn.Config(
                application,
                lifespan="off",
                access_log=False,
                # Our log is JSON lines; a defect is logged by the handler above.
                log_config=None,
                log_level="critical",
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def serve_on(self, listening: socket.socket) -> None:
        """Serve; when cancelled, first answer what has been asked."""
        serving = asyncio.create_task(self.serve(sockets=[listening]))
        try:
            # Not awaited itself: to cancel it would cut off whom it is answering.
            await asyncio.wait({serving})
        finally:
            self.should_exit = True
            await serving
        raise RuntimeError("the HTTP server ended by itself")


def listen(address: str) -> socket.socket:
    """Take host:port; OSError naming the address if that fails."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family)
    except OSError as error:
        raise OSError(f"cannot listen on {address}: {error.strerror}") from error


async def _defect(_: Request, error: Exception) -> Response:
    log.error("internal", exc_info=error)
    return PlainTextResponse("an internal error; see the log\n", 500)
