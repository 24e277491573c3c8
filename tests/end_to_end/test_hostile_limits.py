"""What a peer sends too much of: refused by the limit's name, and nothing is called."""

from dataclasses import replace

import pytest

from messaging.envelope import Request
from messaging.transport import MESSAGE_LIMIT, METADATA_LIMIT, MIB
from messaging.verification import VerifiedFault, VerifiedResponse
from protos.v1.exchange_pb2 import Frame, SignedPart
from tests.end_to_end.hostile import Stream, Thief, refused
from tests.end_to_end.siege import Population

pytestmark = pytest.mark.usefixtures("ledgers_still_verify")

EXCHANGES_LIMIT = 1_000


async def test_a_message_over_the_limit_is_refused_and_one_of_it_is_not(
    thief: Thief, stream: Stream, population: Population
) -> None:
    over = await thief.asked(thief.request(body=bytes(MESSAGE_LIMIT + 1)))
    answer = await thief.answer(stream, over)
    population.has_refused(answer, over, "LIMIT_EXCEEDED")
    assert isinstance(answer, VerifiedFault)
    assert "message" in answer.refusal.detail
    full = await thief.asked(thief.request(body=bytes(MESSAGE_LIMIT)))
    # Zeros are no request of this service; that is found out after its size.
    assert refused(await thief.answer(stream, full))[0] == "MESSAGE_INVALID"


async def test_metadata_over_the_limit_is_refused(
    thief: Thief, stream: Stream, population: Population
) -> None:
    request: Request = replace(
        thief.request(), metadata=(("note", b"x" * METADATA_LIMIT),)
    )
    asked = await thief.asked(request)
    answer = await thief.answer(stream, asked)
    population.has_refused(answer, asked, "LIMIT_EXCEEDED")


async def test_evidence_has_a_limit(
    thief: Thief, stream: Stream, population: Population
) -> None:
    asked = await thief.asked()
    answer = await thief.answer(
        stream, asked, lambda frame: frame.evidence.append(bytes((64 << 10) + 1))
    )
    population.has_refused(answer, asked, "LIMIT_EXCEEDED")


async def test_a_chain_has_a_limit(
    thief: Thief, stream: Stream, population: Population
) -> None:
    asked = await thief.asked()
    long = [thief.issuer.imprint.octets] * 5
    answer = await thief.answer(
        stream, asked, lambda frame: frame.part.chain_imprints.extend(long)
    )
    population.has_refused(answer, asked, "LIMIT_EXCEEDED")


async def test_one_stream_has_only_so_many_exchanges_under_way(
    thief: Thief, stream: Stream
) -> None:
    frames = (
        Frame(exchange_id=number, part=SignedPart())
        for number in range(1, EXCHANGES_LIMIT + 2)
    )
    await stream.say(*frames)
    fault = await stream.ended()
    assert fault.code == "LIMIT_EXCEEDED"


async def test_a_frame_over_any_limit_ends_the_stream_and_nothing_else(
    thief: Thief, stream: Stream
) -> None:
    huge = Frame(exchange_id=1, part=SignedPart(head=bytes(MESSAGE_LIMIT + MIB)))
    await stream.say(huge)
    assert (await stream.broke()).startswith("RESOURCE_EXHAUSTED")
    async with thief.stream(thief.tax) as another:
        answer = await thief.answer(another, await thief.asked())
        assert isinstance(answer, VerifiedResponse)
