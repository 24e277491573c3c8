"""One exchange between two security servers, over real gRPC and mutual TLS."""

import asyncio
from dataclasses import replace

import pytest

from examples.agencies.population.v1 import population_pb2
from ledger.record import Kind
from messaging.envelope import PurposeBlock, Response
from messaging.parts import Part
from messaging.wire.heads import decode_refusal
from security_server.access_rights import Demands
from security_server.registration.registrations import AccessRight
from tests.security_server.agencies import ANSWER, asking
from tests.world import (
    BLOCK,
    JUKU,
    MARI,
    METHOD,
    PERSONS,
    POPULATION_SERVER,
    TAX,
    new_message_id,
)
from vocabulary.faults import (
    AccessDenied,
    DeadlineExceeded,
    Execution,
    LedgerUnavailable,
    MethodUnknown,
    NotRegistered,
    PurposeMissing,
    PurposeUnknown,
    Replayed,
    ServiceUnknown,
    SubjectMismatch,
)
from vocabulary.identifiers import ServiceId, SubsystemId

NO_ONE = PurposeBlock()


async def test_an_answer_comes_back_and_both_sides_hold_the_same_parts(agencies):
    answer = await agencies.tax.exchange(asking())
    assert answer.response == Response(0, ANSWER, subjects=(MARI,))
    sent, received = agencies.tax.ledger.records
    asked, answered = agencies.population.ledger.records
    assert agencies.tax.ledger.kinds == ["REQUEST_SENT", "RESPONSE_RECEIVED"]
    assert agencies.population.ledger.kinds == ["REQUEST_RECEIVED", "RESPONSE_SENT"]
    assert (sent.part, sent.evidence, sent.fields) == (
        asked.part,
        asked.evidence,
        asked.fields,
    )
    assert (received.part, received.evidence) == (answered.part, answered.evidence)
    # Each pins the other's open second.
    assert asked.peer_row_hash is not None
    assert received.peer_row_hash is not None
    assert sent.peer_row_hash is answered.peer_row_hash is None
    for side in (agencies.tax, agencies.population):
        for record in side.ledger.records:
            assert set(record.evidence.references) <= set(side.ledger.evidence)


async def test_exchanges_that_start_together_share_signatures_and_a_stream(agencies):
    asked = [agencies.tax.exchange(asking()) for _ in range(32)]
    await asyncio.gather(*asked)
    sent = [r for r in agencies.tax.ledger.records if r.kind is Kind.REQUEST_SENT]
    assert len({record.evidence.signature for record in sent}) == 1
    assert agencies.population.register.calls == 32


REFUSED_BY_PROVIDER = {
    "no right to it": ({}, AccessDenied),
    "an unknown service": (
        {"service": ServiceId(PERSONS.provider, "pets", "v1")},
        ServiceUnknown,
    ),
    "an unknown method": (
        {"method": "population.v1.PersonRegistry/Rob"},
        MethodUnknown,
    ),
    "another person than declared": (
        {"block": replace(BLOCK, subjects=(JUKU,))},
        SubjectMismatch,
    ),
}


@pytest.mark.parametrize("broken", REFUSED_BY_PROVIDER)
async def test_a_refusal_is_signed_recorded_and_says_nothing_was_done(agencies, broken):
    changed, fault = REFUSED_BY_PROVIDER[broken]
    if fault is AccessDenied:
        agencies.grant()
    with pytest.raises(fault) as refused:
        await agencies.tax.exchange(asking(**changed))
    assert refused.value.origin == POPULATION_SERVER
    assert refused.value.execution is Execution.NOT_EXECUTED
    assert agencies.population.register.calls == 0
    assert agencies.tax.ledger.kinds == ["REQUEST_SENT", "RESPONSE_FAILED"]
    assert agencies.population.ledger.kinds == ["REQUEST_REFUSED", "RESPONSE_FAILED"]
    sent, failed = agencies.tax.ledger.records
    assert refused.value.refused == sent.part.imprint
    said = agencies.population.ledger.records[1]
    assert (failed.part, failed.evidence) == (said.part, said.evidence)


async def test_a_refused_mismatch_is_recorded_under_both_persons(agencies):
    with pytest.raises(SubjectMismatch):
        await agencies.tax.exchange(asking(block=replace(BLOCK, subjects=(JUKU,))))
    refused, said = agencies.population.ledger.records
    assert JUKU.encode() in {field.value for field in refused.fields}
    assert {JUKU.encode(), MARI.encode()} <= {field.value for field in said.fields}


async def test_a_right_may_be_to_one_method_only(agencies):
    agencies.grant(
        AccessRight(PERSONS, TAX, "population.v1.PersonRegistry/FindPersons")
    )
    with pytest.raises(AccessDenied):
        await agencies.tax.exchange(asking())
    agencies.grant(AccessRight(PERSONS, TAX, METHOD))
    assert await agencies.tax.exchange(asking())


async def test_what_was_refused_may_be_sent_again_with_the_same_id(agencies):
    agencies.grant()
    same = new_message_id()
    with pytest.raises(AccessDenied):
        await agencies.tax.exchange(asking(message_id=same))
    agencies.grant(AccessRight(PERSONS, TAX))
    assert await agencies.tax.exchange(asking(message_id=same))


REFUSED_AT_HOME = {
    "no purpose": ({"block": NO_ONE}, PurposeMissing),
    "a purpose of its own": (
        {"block": replace(BLOCK, purpose="CURIOSITY")},
        PurposeUnknown,
    ),
    "a stranger's subsystem": (
        {"client": SubsystemId.parse("EE-SANDBOX/GOV/70000349/toll")},
        NotRegistered,
    ),
}


@pytest.mark.parametrize("broken", REFUSED_AT_HOME)
async def test_a_bad_call_is_refused_before_it_is_signed(agencies, broken):
    changed, fault = REFUSED_AT_HOME[broken]
    with pytest.raises(fault) as refused:
        await agencies.tax.exchange(asking(**changed))
    assert refused.value.origin is None
    assert refused.value.execution is Execution.NOT_EXECUTED
    assert agencies.tax.ledger.records == []


async def test_a_refusal_at_home_is_recorded_under_the_persons_declared(agencies):
    asked = asking(block=replace(BLOCK, purpose="CURIOSITY"))
    with pytest.raises(PurposeUnknown) as refused:
        await agencies.tax.exchange(asked)
    await agencies.tax.assembled.refusals.record(asked, refused.value)
    (recorded,) = agencies.tax.ledger.records
    assert recorded.kind is Kind.REQUEST_REFUSED
    assert MARI.encode() in {field.value for field in recorded.fields}
    # A purpose that is nobody's list is the caller's text, and not kept.
    assert b"CURIOSITY" not in recorded.part.head


async def test_a_message_is_received_once_however_often_it_is_sent(agencies):
    same = asking()
    results = await asyncio.gather(
        *(agencies.tax.exchange(same) for _ in range(3)), return_exceptions=True
    )
    replayed = [result for result in results if isinstance(result, Replayed)]
    assert len(replayed) == 2
    # The one that got through may have been executed, so the refused cannot say no.
    assert {fault.execution for fault in replayed} == {Execution.UNKNOWN}
    assert agencies.population.register.calls == 1


async def test_nothing_is_sent_that_our_ledger_does_not_hold(agencies):
    agencies.tax.ledger.down = True
    with pytest.raises(LedgerUnavailable) as refused:
        await agencies.tax.exchange(asking())
    assert refused.value.execution is Execution.NOT_EXECUTED
    assert agencies.population.ledger.records == []


async def test_nothing_is_asked_that_the_providers_ledger_does_not_hold(agencies):
    agencies.population.ledger.down = True
    with pytest.raises(LedgerUnavailable) as refused:
        await agencies.tax.exchange(asking())
    assert refused.value.execution is Execution.NOT_EXECUTED
    assert agencies.population.register.calls == 0
    agencies.population.ledger.down = False
    assert await agencies.tax.exchange(asking())


async def test_an_answer_that_cannot_be_recorded_is_not_released(agencies):
    register, ledger = agencies.population.register, agencies.population.ledger

    async def call(received, timeout_s):
        ledger.down = True
        return register.answer

    register.call = call
    with pytest.raises(LedgerUnavailable) as refused:
        await agencies.tax.exchange(asking())
    assert refused.value.execution is Execution.EXECUTED


async def test_the_deadline_reaches_the_provider_and_comes_back(agencies):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def call(received, timeout_s):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    agencies.population.register.call = call
    with pytest.raises(DeadlineExceeded) as late:
        await agencies.tax.exchange(asking(), timeout_s=1.0)
    assert late.value.execution is Execution.UNKNOWN
    assert begun.is_set()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_cancelled_call_is_cancelled_at_the_provider(agencies):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def call(received, timeout_s):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    agencies.population.register.call = call
    waiting = asyncio.create_task(agencies.tax.exchange(asking()))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(ended.wait(), 5)


async def test_refusals_that_are_alike_fold_within_a_second(agencies):
    agencies.grant()
    for _ in range(5):
        with pytest.raises(AccessDenied):
            await agencies.tax.exchange(asking())
    ledger = agencies.population.ledger
    assert ledger.kinds == ["REQUEST_REFUSED", "RESPONSE_FAILED"]
    await agencies.population.assembled.refusals.record_repeats()
    counted = decode_refusal(
        Part(
            "ristmik.fault.v1", ledger.records[-1].part.head, ledger.records[-1].fields
        )
    )
    assert (len(ledger.records), counted.repeats) == (3, 4)
    # The consumer's own ledger holds every one: it asked, and was refused.
    assert agencies.tax.ledger.kinds == ["REQUEST_SENT", "RESPONSE_FAILED"] * 5


async def test_who_cannot_name_a_person_yet_need_not_declare_one(agencies):
    """A search has no field that identifies: the persons stand in its answer."""
    ask = population_pb2.FindPersonsRequest(family_name="Tamm").SerializeToString()
    searching = asking(
        method="population.v1.PersonRegistry/FindPersons",
        body=ask,
        block=replace(BLOCK, subjects=()),
    )
    walk = agencies.tax.assembled.consumer
    assert await walk.exchange(searching, 10.0, demands=Demands.PURPOSE)
    answered = agencies.population.ledger.records[-1]
    assert MARI.encode() in {field.value for field in answered.fields}
    purposeless = replace(asking(), purpose_block=PurposeBlock())
    with pytest.raises(PurposeMissing):
        await walk.exchange(purposeless, 10.0)
