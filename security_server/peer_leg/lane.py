"""One long-lived stream to one peer that many exchanges share.

Frames that are ready together travel in one stream message, so a busy pair pays once
for many and an idle pair waits for nobody.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from grpc import aio

from messaging.signers import Signers
from messaging.signing import SignedPart
from messaging.transport import fault_of_status
from messaging.verification import Delivered
from messaging.wire.parts import part_to_pb
from protos.v1.exchange_pb2 import Cancel, Frame, Frames
from security_server.peer_leg.frames import (
    Given,
    batches,
    delivered,
    hello_frame,
    read_hello,
)
from security_server.peer_leg.identity import Peer, PeerIdentity
from vocabulary.faults import (
    DeadlineExceeded,
    Execution,
    Fault,
    PeerUnreachable,
    before_execution,
)
from vocabulary.identifiers import SecurityServerId

Stream: TypeAlias = aio.StreamStreamCall[Frames, Frames]


@dataclass(slots=True)
class _Exchange:
    answer: asyncio.Future[Delivered]
    # Whether a frame of it may have left.
    written: bool = False


@dataclass(slots=True)
class _Outgoing:
    frames: list[Frame] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class Lane:
    def __init__(
        self,
        new_stream: Callable[[], Stream],
        identity: PeerIdentity,
        signers: Signers,
    ) -> None:
        self._new_stream = new_stream
        self._identity = identity
        self._signers = signers
        self._given = Given()
        self._outgoing = _Outgoing()
        self._exchanges: dict[int, _Exchange] = {}
        self._last_id = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.closed = False

    async def open(self, called: SecurityServerId, timeout_s: float) -> None:
        """Say Hello and be answered; raise the peer's refusal or PeerUnreachable."""
        stream = self._new_stream()
        try:
            with before_execution():
                peer = await self._greet(stream, called, timeout_s)
        except BaseException:
            stream.cancel()
            raise
        self._tasks = [
            asyncio.create_task(self._write(stream)),
            asyncio.create_task(self._read(stream, peer)),
        ]

    async def ask(
        self, message: SignedPart, row_hash: bytes, timeout_s: float, *, inline: bool
    ) -> Delivered:
        """Deliver one part and wait for what answers it.

        `inline`: send its evidence even if this lane carried it before.
        """
        self._last_id += 1
        exchange_id = self._last_id
        evidence = self._signers.evidence(message.evidence)
        frame = Frame(
            exchange_id=exchange_id,
            timeout_ms=max(1, int(timeout_s * 1000)),
            part=part_to_pb(message),
            row_hash=row_hash,
            evidence=evidence if inline else self._given.new(evidence),
        )
        exchange = _Exchange(asyncio.get_running_loop().create_future())
        self._exchanges[exchange_id] = exchange
        self._send(frame)
        try:
            async with asyncio.timeout(timeout_s):
                return await exchange.answer
        except TimeoutError as error:
            self._send(Frame(exchange_id=exchange_id, cancel=Cancel()))
            raise DeadlineExceeded(
                f"no answer within {timeout_s:.3f} s; "
                "ask again with a new message id and more time"
            ) from error
        except asyncio.CancelledError:
            self._send(Frame(exchange_id=exchange_id, cancel=Cancel()))
            raise
        finally:
            del self._exchanges[exchange_id]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._break(PeerUnreachable("this server is being stopped"))

    def _send(self, frame: Frame) -> None:
        if self.closed:
            fault = PeerUnreachable("the stream to the peer has just ended; ask again")
            fault.execution = Execution.NOT_EXECUTED
            if frame.WhichOneof("kind") == "part":
                self._exchanges[frame.exchange_id].answer.set_exception(fault)
            return
        self._outgoing.frames.append(frame)
        self._outgoing.ready.set()

    async def _greet(
        self, stream: Stream, called: SecurityServerId, timeout_s: float
    ) -> Peer:
        hello = Frames(frames=[hello_frame(self._identity.hello())])
        try:
            async with asyncio.timeout(timeout_s):
                await stream.write(hello)
                answer = await stream.read()
        except TimeoutError as error:
            raise PeerUnreachable(
                f"{called} did not say Hello within {timeout_s:.1f} s"
            ) from error
        except (aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise await _why_ended(stream, called) from error
        if not isinstance(answer, Frames):
            raise await _why_ended(stream, called)
        return self._identity.verify_called(read_hello(answer), called=called)

    async def _write(self, stream: Stream) -> None:
        outgoing = self._outgoing
        while True:
            await outgoing.ready.wait()
            outgoing.ready.clear()
            waiting, outgoing.frames = outgoing.frames, []
            for batch in batches(waiting):
                self._mark_written(batch.frames)
                try:
                    await stream.write(batch)
                except (aio.AioRpcError, asyncio.InvalidStateError):
                    # The reader learns why, and tells all that wait.
                    return

    def _mark_written(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            exchange = self._exchanges.get(frame.exchange_id)
            if exchange is not None:
                exchange.written = True

    async def _read(self, stream: Stream, peer: Peer) -> None:
        fault: Fault = PeerUnreachable(f"the stream to {peer.server} was lost")
        try:
            while isinstance(frames := await stream.read(), Frames):
                self._identity.require_good(peer)
                for frame in frames.frames:
                    self._take(frame, peer)
            fault = await _why_ended(stream, peer.server)
        except Fault as refused:
            fault = refused
        except aio.AioRpcError:
            fault = await _why_ended(stream, peer.server)
        finally:
            stream.cancel()
            self._break(fault)

    def _take(self, frame: Frame, peer: Peer) -> None:
        self._signers.learn(frame.evidence)
        exchange = self._exchanges.get(frame.exchange_id)
        kind = frame.WhichOneof("kind")
        if exchange is None or exchange.answer.done() or kind not in {"part", "fault"}:
            return
        try:
            exchange.answer.set_result(delivered(frame, peer.server))
        except Fault as fault:
            exchange.answer.set_exception(fault)

    def _break(self, fault: Fault) -> None:
        """End all that wait: what was never written was surely not delivered."""
        self.closed = True
        for exchange in self._exchanges.values():
            if exchange.answer.done():
                continue
            said = type(fault)(fault.detail)
            said.origin = fault.origin
            if not exchange.written:
                said.execution = Execution.NOT_EXECUTED
            exchange.answer.set_exception(said)


async def _why_ended(stream: Stream, peer: SecurityServerId) -> Fault:
    """Give the fault the peer ended the stream with, or say that it fell silent.

    Nobody has signed it, so it is the peer's, whomever it names.
    """
    code, trailers = await stream.code(), await stream.trailing_metadata()
    said = fault_of_status((key, value) for key, value in trailers or ())
    if said is not None:
        said.origin = peer
        return said
    details = await stream.details()
    return PeerUnreachable(
        f"{peer} cannot be reached or ended the stream ({code.name}: {details}); "
        "see that its server runs and that both servers' certificates are registered"
    )
