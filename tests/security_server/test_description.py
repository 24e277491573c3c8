"""Descriptions of services: shared, kept for a minute, asked again before a refusal."""

import asyncio

import pytest

from messaging.envelope import Identities, Request, Response
from protos.v1.exchange_pb2 import DescribeResponse
from security_server.access_rights import Demands
from security_server.call_metadata import new_message_id
from security_server.local_leg.description import Descriptions, read_description
from security_server.message_log import Answer
from tests.security_server.descriptors import (
    DESCRIPTORS,
    GET,
    INCOMPLETE,
    PERSONS,
    POPULATION,
    TAX,
)
from tests.security_server.local_leg import HERE, THERE, Walk
from tests.security_server.waiting import until
from vocabulary.faults import (
    Execution,
    MessageInvalid,
    PeerUnreachable,
    ServiceUnknown,
)
from vocabulary.imprint import Imprint


def asked(client=TAX):
    named = Identities(new_message_id(), client, PERSONS, GET, HERE, THERE)
    return Request(named, b"asked")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Slow(Walk):
    """Answers when it is told to, and keeps who asked."""

    def __init__(self):
        super().__init__()
        self.go_on = asyncio.Event()

    async def exchange(self, request, timeout_s, *, demands=Demands.NOTHING):
        self.described.append(request)
        await self.go_on.wait()
        self.described.pop()
        return await super().exchange(request, timeout_s, demands=demands)


class Failing(Walk):
    fault = None

    async def exchange(self, request, _timeout_s, *, demands=Demands.NOTHING):
        self.described.append((request, demands))
        raise self.fault


async def test_who_asks_at_the_same_time_shares_one_exchange():
    walk = Slow()
    descriptions = Descriptions(walk, Clock())
    waiting = [asyncio.create_task(descriptions.describe(asked())) for _ in range(5)]
    await until(lambda: walk.described)
    # Whoever gives up takes nothing from the others, not even the first.
    waiting[0].cancel()
    walk.go_on.set()
    first, *others = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert len({id(each) for each in others}) == 1
    assert len(walk.described) == 1


async def test_nobody_is_refused_for_what_another_client_may_not():
    walk = Slow()
    descriptions = Descriptions(walk, Clock())
    waiting = [
        asyncio.create_task(descriptions.describe(asked(client)))
        for client in (TAX, POPULATION)
    ]
    await until(lambda: len(walk.described) == 2)
    walk.go_on.set()
    await asyncio.gather(*waiting)
    assert {each.identities.client for each in walk.described} == {TAX, POPULATION}


@pytest.mark.parametrize(
    ("fresh", "age", "exchanges"),
    [(False, 59.9, 1), (False, 60, 2), (True, 0.9, 1), (True, 1, 2)],
)
async def test_an_answer_is_kept_for_a_minute_or_a_second(fresh, age, exchanges):
    walk, clock = Walk(), Clock()
    descriptions = Descriptions(walk, clock)
    await descriptions.describe(asked())
    clock.now += age
    await descriptions.describe(asked(), fresh=fresh)
    assert len(walk.described) == exchanges


async def test_a_failure_is_not_kept_and_each_gets_its_own():
    walk = Failing()
    walk.fault = ServiceUnknown("not registered")
    walk.fault.origin, walk.fault.refused = THERE, Imprint.of(b"the question")
    descriptions = Descriptions(walk, Clock())
    outcomes = await asyncio.gather(
        *(descriptions.describe(asked()) for _ in range(2)), return_exceptions=True
    )
    assert [type(each) for each in outcomes] == [ServiceUnknown] * 2
    assert outcomes[0] is not outcomes[1]
    assert {each.origin for each in outcomes} == {THERE}
    assert {each.execution for each in outcomes} == {Execution.NOT_EXECUTED}
    # What was refused is the question, not the call.
    assert {each.refused for each in outcomes} == {None}
    walk.fault = PeerUnreachable("away")
    with pytest.raises(PeerUnreachable):
        await descriptions.describe(asked())
    assert len(walk.described) == 2


ANSWERS = {
    "a status": Response(5, None, "no"),
    "no message": Response(0, None),
    "nonsense": Response(0, b"\xff"),
    "an import missing": Response(
        0,
        DescribeResponse(
            descriptors=INCOMPLETE, grpc_services=["persons.v1.Persons"]
        ).SerializeToString(),
    ),
    "a service that is not described": Response(
        0,
        DescribeResponse(
            descriptors=DESCRIPTORS, grpc_services=["persons.v1.Nothing"]
        ).SerializeToString(),
    ),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_a_provider_that_describes_nothing_is_refused(what):
    class Wrong(Walk):
        async def exchange(self, _request, _timeout_s, *, demands=Demands.NOTHING):
            assert demands is Demands.NOTHING
            return Answer(ANSWERS[what], 1)

    with pytest.raises(MessageInvalid) as refused:
        await Descriptions(Wrong(), Clock()).describe(asked())
    assert refused.value.execution is Execution.NOT_EXECUTED


def test_only_what_was_registered_is_described():
    said = DescribeResponse(
        descriptors=DESCRIPTORS, grpc_services=["persons.v1.Persons"], personal=True
    )
    described = read_description(said.SerializeToString())
    assert described.personal
    assert GET in described.description.methods
