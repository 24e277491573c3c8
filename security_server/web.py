"""What a security server shows over HTTP: that it runs, and its newest checkpoint.

Read-only, and hashes only: no entry leaves by this door.
"""

from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ledger.checkpoint import RoundCheckpoint


class Checkpoints(Protocol):
    @property
    def newest_checkpoint(self) -> RoundCheckpoint | None: ...


def app(ledger: Checkpoints) -> Starlette:
    async def health(_: Request) -> Response:
        return JSONResponse({"status": "SERVING"})

    async def checkpoint(_: Request) -> Response:
        newest = ledger.newest_checkpoint
        if newest is None:
            return PlainTextResponse("no round was closed yet\n", 404)
        # C2SP tlog-tiles: text, cached for seconds.
        headers = {"cache-control": "max-age=1"}
        return PlainTextResponse(newest.note, headers=headers)

    return Starlette(
        routes=[Route("/health", health), Route("/checkpoint", checkpoint)]
    )
