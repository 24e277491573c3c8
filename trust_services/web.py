"""The trust services over HTTP: OCSP (RFC 6960 §A.1), time-stamps (RFC 3161 §3.4)."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable

import structlog
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
        ]
    )


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
