"""Calls that are too large, of another shape, or that came before."""

import asyncio

import pytest
from grpc import StatusCode, aio

from ledger.record import Kind
from tests.end_to_end.calling import (
    Metadata,
    Outcome,
    ask,
    ask_with,
    new_message_id,
)
from tests.end_to_end.conftest import DESK
from tests.end_to_end.desk import ASK, FLOOD, LOAD, WATCH, Desk, note
from tests.end_to_end.instance import Instance
from tests.end_to_end.refusals import (
    Refused,
    assert_recorded,
    assert_refused,
    await_refusals,
    refusals,
    request_about,
    someone,
)

LIMIT = 16 << 20
# A field's key and length before the text of a note this long.
NOTE_OCTETS = 5
GET_PERSON = "population.v1.PersonRegistry/GetPerson"
EXHAUSTED = StatusCode.RESOURCE_EXHAUSTED
REPLAYED = Refused(
    *("REPLAYED", StatusCode.ALREADY_EXISTS, "population", "UNKNOWN"), sent=True
)


def on_desk(instance: Instance, **changed: str) -> Metadata:
    absent = dict.fromkeys(("subject", "purpose", "legal_basis"))
    return instance.example.metadata(**{"service": DESK, **absent, **changed})


async def test_message_over_the_limit_is_refused_by_the_limits_name(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    body = note("x" * (LIMIT - NOTE_OCTETS + 1))
    assert len(body) == LIMIT + 1
    outcome = await ask(tax, ASK, body, on_desk(instance))
    refused = Refused("LIMIT_EXCEEDED", EXHAUSTED)
    assert_refused(instance, outcome, refused)
    assert outcome.fault.detail.startswith(f"message: {LIMIT + 1} octets")
    assert_recorded(instance, outcome, refused, provider="health")
    assert desk.asked_by(outcome.message_id) == []


async def test_message_at_the_limit_passes_both_ways(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    body = note("x" * (LIMIT - NOTE_OCTETS))
    assert len(body) == LIMIT
    outcome = await ask(tax, ASK, body, on_desk(instance))
    assert outcome.code is StatusCode.OK, outcome.details
    assert outcome.body == body
    assert len(desk.asked_by(outcome.message_id)) == 1


async def test_message_far_over_the_limit_does_not_get_anywhere(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    chosen = new_message_id()
    metadata = on_desk(instance, message_id=chosen)
    outcome = await ask(tax, ASK, note("x" * (LIMIT + (4 << 20))), metadata)
    assert outcome.code is EXHAUSTED
    assert desk.asked_by(chosen) == []
    assert instance.entries("health", chosen) == []


async def test_answer_over_the_limit_is_refused_and_was_executed(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    outcome = await ask(tax, FLOOD, note("much"), on_desk(instance))
    refused = Refused("LIMIT_EXCEEDED", EXHAUSTED, "health", "EXECUTED")
    assert_refused(instance, outcome, refused)
    assert len(desk.asked_by(outcome.message_id)) == 1
    kinds = [Kind.REQUEST_SENT, Kind.RESPONSE_FAILED]
    assert kinds_of(instance, "tax", outcome) == kinds
    assert kinds_of(instance, "health", outcome) == [
        *(Kind.REQUEST_RECEIVED, Kind.RESPONSE_FAILED),
    ]


@pytest.mark.parametrize("octets", [16 << 10, 40 << 10])
async def test_metadata_over_the_limit_is_refused_by_the_limits_name(
    instance: Instance, tax: aio.Channel, desk: Desk, octets: int
) -> None:
    case = str(octets)
    metadata = (*on_desk(instance, case=case), ("x-long", "y" * octets))
    before = refusals(instance, "tax", "LIMIT_EXCEEDED")
    outcome = await ask(tax, ASK, note("short"), metadata)
    assert_refused(instance, outcome, Refused("LIMIT_EXCEEDED", EXHAUSTED))
    assert outcome.fault.detail.startswith("metadata: ")
    assert desk.asked_by(outcome.message_id) == []
    await_refusals(instance, "tax", "LIMIT_EXCEEDED", before + 1)


async def test_metadata_far_over_the_limit_does_not_get_anywhere(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    chosen = new_message_id()
    metadata = (*on_desk(instance, message_id=chosen), ("x-long", "y" * (80 << 10)))
    outcome = await ask(tax, ASK, note("short"), metadata)
    assert outcome.code is EXHAUSTED
    assert desk.asked_by(chosen) == []
    assert instance.entries("health", chosen) == []


@pytest.mark.parametrize("messages", [0, 2, 3])
async def test_unary_method_takes_one_message(
    instance: Instance, tax: aio.Channel, desk: Desk, messages: int
) -> None:
    bodies = [note(str(number)) for number in range(messages)]
    case = f"messages {messages}"
    outcome = await ask_with(tax, ASK, bodies, on_desk(instance, case=case))
    assert_refused(
        instance, outcome, Refused("MESSAGE_INVALID", StatusCode.INVALID_ARGUMENT)
    )
    assert desk.asked_by(outcome.message_id) == []
    assert instance.entries("health", outcome.message_id) == []


@pytest.mark.parametrize("method", [WATCH, LOAD])
async def test_streaming_method_is_refused_by_name(
    instance: Instance, tax: aio.Channel, desk: Desk, method: str
) -> None:
    # About somebody, so that it is not folded with another of its kind.
    metadata = on_desk(instance, subject=someone())
    outcome = await ask(tax, method, note("all"), metadata)
    refused = Refused("STREAMING_NOT_OFFERED", StatusCode.UNIMPLEMENTED)
    assert_refused(instance, outcome, refused)
    assert method in outcome.fault.detail
    assert_recorded(instance, outcome, refused, provider="health")
    assert desk.asked_by(outcome.message_id) == []


@pytest.mark.parametrize("other", ["the same message", "another message"])
async def test_message_id_that_was_used_is_refused(
    instance: Instance, tax: aio.Channel, other: str
) -> None:
    person, chosen = someone(), new_message_id()
    metadata = instance.example.metadata(subject=person, message_id=chosen)
    first = await ask(tax, GET_PERSON, request_about(person), metadata)
    assert first.code is StatusCode.OK, first
    if other == "another message":
        person = someone()
        metadata = instance.example.metadata(subject=person, message_id=chosen)
    second = await ask(tax, GET_PERSON, request_about(person), metadata)
    assert_refused(instance, second, REPLAYED)
    assert received(instance, chosen) == 1


async def test_what_was_refused_may_be_mended_and_sent_again(
    instance: Instance, tax: aio.Channel
) -> None:
    person, chosen = someone(), new_message_id()
    metadata = instance.example.metadata(subject=person, message_id=chosen)
    mismatch = Refused("SUBJECT_MISMATCH", StatusCode.INVALID_ARGUMENT, "population")
    for _ in range(3):
        outcome = await ask(tax, GET_PERSON, request_about(someone()), metadata)
        assert_refused(instance, outcome, mismatch)
    assert received(instance, chosen) == 0
    outcome = await ask(tax, GET_PERSON, request_about(person), metadata)
    assert outcome.code is StatusCode.OK, outcome
    for _ in range(3):
        outcome = await ask(tax, GET_PERSON, request_about(person), metadata)
        assert_refused(instance, outcome, REPLAYED)
    assert received(instance, chosen) == 1


async def test_of_one_message_id_in_a_burst_one_call_is_let_through(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    chosen = new_message_id()
    metadata = on_desk(instance, message_id=chosen)
    before = refusals(instance, "health", "REPLAYED")
    outcomes = await asyncio.gather(
        *(ask(tax, ASK, note(str(number)), metadata) for number in range(12))
    )
    answered = [each for each in outcomes if each.code is StatusCode.OK]
    refused = [each.refusal for each in outcomes if each.code is not StatusCode.OK]
    assert len(answered) == 1
    assert set(refused) == {("REPLAYED", "UNKNOWN", instance.server("health").id)}
    (asked,) = desk.asked_by(chosen)
    assert asked.body == answered[0].body
    await_refusals(instance, "health", "REPLAYED", before + 11)
    kinds = [Kind(entry.kind) for entry in instance.entries("tax", chosen)]
    assert kinds.count(Kind.RESPONSE_RECEIVED) == 1
    assert kinds.count(Kind.RESPONSE_FAILED) == 11


async def test_burst_of_calls_is_recorded_whole(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    outcomes = await asyncio.gather(
        *(ask(tax, ASK, note(str(n)), on_desk(instance)) for n in range(100))
    )
    assert [each.body for each in outcomes] == [note(str(n)) for n in range(100)]
    ids = {outcome.message_id for outcome in outcomes}
    assert len(ids) == 100
    for code in ("tax", "health"):
        entries = [str(entry.message_id) for entry in instance.entries(code)]
        assert {each: entries.count(each) for each in ids} == dict.fromkeys(ids, 2)


def kinds_of(instance: Instance, code: str, outcome: Outcome) -> list[Kind]:
    return [Kind(entry.kind) for entry in instance.entries(code, outcome.message_id)]


def received(instance: Instance, message_id: str) -> int:
    entries = instance.entries("population", message_id)
    return sum(entry.kind == Kind.REQUEST_RECEIVED for entry in entries)
