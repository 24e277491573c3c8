"""A security server whose authentication certificate is revoked while it is heard."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from messaging.envelope import Response
from protos.v1.exchange_pb2 import Frame, Window
from security_server.peer_leg.frames import hello_frame
from tests.end_to_end.calling import Outcome, ask
from tests.end_to_end.desk import ASK, note
from tests.end_to_end.hostile import Stream, Thief
from tests.end_to_end.instance import Instance
from tests.end_to_end.rogue import SERVICE, Rogue, running_rogue
from tests.end_to_end.waiting import eventually

TRUE = Response(0, note("so it is"))


async def _has_ended(stream: Stream) -> bool:
    return not await stream.takes(Frame(window=Window()))


@pytest.fixture
def rogue(instance: Instance, tmp_path: Path) -> Iterator[Rogue]:
    with running_rogue(Thief(instance), tmp_path) as rogue:
        rogue.lie = lambda rogue, asked, _: [rogue.answer(asked, TRUE)]
        yield rogue
        # The newest certificate of a server is one that it can use.
        rogue.thief.issue(rogue.keys.server)


async def test_a_revoked_server_is_heard_no_longer(
    instance: Instance, tax: aio.Channel, rogue: Rogue
) -> None:
    """Neither when it calls nor when it is called, and no stream of it lives on."""
    thief = rogue.thief

    async def call() -> Outcome:
        metadata = instance.example.metadata(service=str(SERVICE))
        return await ask(tax, ASK, note("?"), metadata)

    async def says_hello() -> Stream | None:
        stream = Stream(channel, thief.signers)
        await stream.say(hello)
        return stream if await stream.is_greeted() else None

    async def is_refused() -> bool:
        outcome = await call()
        return outcome.code is not StatusCode.OK

    hello = hello_frame(await thief.hello(rogue.keys))
    async with thief.channel(rogue.keys.tls) as channel:
        stream = await eventually(says_hello, "the rogue is known and greeted")
        assert stream is not None
        has_ended = partial(_has_ended, stream)
        assert (await call()).body == TRUE.body
        thief.revoke(rogue.keys.authentication)
        await eventually(has_ended, "its stream is ended")
        assert (await stream.ended()).code == "CERTIFICATE_REVOKED"
        # Nor does its old status help, which says good for a while yet.
        again = Stream(channel, thief.signers)
        await again.say(hello)
        assert (await again.ended()).code == "CERTIFICATE_REVOKED"
    await eventually(is_refused, "it is called no longer")
    own = instance.server("tax").id
    assert (await call()).refusal == ("CERTIFICATE_REVOKED", "NOT_EXECUTED", own)
