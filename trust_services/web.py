"""The trust services over HTTP: OCSP (RFC 6960 §A.1), time-stamps (RFC 3161 §3.4)."""

import asyncio
import base64
import binascii
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from trust import ocsp, timestamps
from trust.certificates import Certificate
from trust.inquiry import MediaTypes
from trust_services.ocsp_responder import TRY_LATER, OcspResponder
from trust_services.store import Store
from trust_services.time_stamping import TimeStampingAuthority

log = structlog.get_logger()

# A question is of some hundred octets.
QUESTION_LIMIT = 16 * 1024
GRACE_S = 2


def app(
    *,
    authority: Certificate,
    responder: OcspResponder,
    time_stamping: TimeStampingAuthority,
    store: Store,
) -> Starlette:
    async def status(question: bytes) -> bytes:
        try:
            return await responder.answer(question)
        except SQLAlchemyError as error:
            log.warning("certificate status unavailable", why=str(error))
            return TRY_LATER

    async def time_stamp(question: bytes) -> bytes:
        return time_stamping.answer(question)

    async def status_by_path(request: Request) -> Response:
        answer = await status(_from_base64(request.path_params["question"]))
        # A cache would keep what was true before a revocation.
        headers = {"cache-control": "no-store"}
        return Response(answer, media_type=ocsp.MEDIA.answer, headers=headers)

    async def certificate(_: Request) -> Response:
        pem = authority.x509.public_bytes(Encoding.PEM)
        return Response(pem, media_type="application/x-pem-file")

    async def health(_: Request) -> Response:
        try:
            await asyncio.to_thread(store.ping)
        except SQLAlchemyError as error:
            log.warning("not healthy", why=str(error))
            return JSONResponse({"status": "NOT_SERVING"}, 503)
        return JSONResponse({"status": "SERVING"})

    return Starlette(
        routes=[
            Route("/ocsp", _answering(status, ocsp.MEDIA), methods=["POST"]),
            Route("/ocsp/{question:path}", status_by_path),
            Route("/tsa", _answering(time_stamp, timestamps.MEDIA), methods=["POST"]),
            Route("/ca.pem", certificate),
            Route("/health", health),
        ],
        exception_handlers={Exception: _defect},
    )


async def _defect(_: Request, error: Exception) -> Response:
    log.error("internal", exc_info=error)
    return PlainTextResponse("an internal error; see the log\n", 500)


def _answering(
    answer: Callable[[bytes], Awaitable[bytes]], media: MediaTypes
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0]
        if media_type.strip().lower() != media.question:
            return PlainTextResponse(f"send {media.question}\n", 415)
        question = bytearray()
        async for chunk in request.stream():
            question += chunk
            if len(question) > QUESTION_LIMIT:
                return PlainTextResponse(f"at most {QUESTION_LIMIT} octets\n", 413)
        return Response(await answer(bytes(question)), media_type=media.answer)

    return endpoint


def _from_base64(text: str) -> bytes:
    """Give what it stands for, or nothing: the responder calls that malformed."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


class HttpServer(uvicorn.Server):
    """Serves until `should_exit`; signals are the program's, not uvicorn's."""

    def __init__(self, application: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                lifespan="off",
                access_log=False,
                # Our log is JSON lines; a defect is logged by Starlette's handler.
                log_config=None,
                log_level="critical",
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(address: str) -> socket.socket:
    """Take host:port; OSError naming the address if that fails."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family)
    except OSError as error:
        raise OSError(f"cannot listen on {address}: {error.strerror}") from error
