"""One exchange between two security servers, over real gRPC and mutual TLS."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

import pytest
from grpc import aio

from examples.agencies.population.v1 import population_pb2
from ledger.record import Kind
from messaging.envelope import PurposeBlock, Response
from messaging.parts import Part
from messaging.transport import OPTIONS
from messaging.wire.heads import decode_refusal
from protos.v1.exchange_pb2 import Frame, Frames, SignedPart
from protos.v1.exchange_pb2_grpc import ExchangeServiceStub
from security_server.registrations import AccessRight
from tests.pki import REVOKED
from tests.security_server.agencies import Agencies
from tests.world import (
    BLOCK,
    JUKU,
    MARI,
    METHOD,
    PERSONS,
    POPULATION_SERVER,
    TAX,
    TAX_SERVER,
    Party,
    new_message_id,
)
from tests.world import request as request_of
from vocabulary.faults import (
    AccessDenied,
    CertificateRevoked,
    CertificateUnknown,
    ConfigurationExpired,
    DeadlineExceeded,
    Execution,
    LedgerUnavailable,
    MethodUnknown,
    NotRegistered,
    PeerUnreachable,
    PurposeMissing,
    PurposeUnknown,
    Replayed,
    ServiceUnknown,
    SubjectMismatch,
)
from vocabulary.identifiers import ServiceId, SubsystemId

ASK = population_pb2.GetPersonRequest(person_id=MARI).SerializeToString()
ANSWER = population_pb2.Person(id=MARI).SerializeToString()
NO_ONE = PurposeBlock()


def request(**changed):
    return request_of(**{"message_id": new_message_id(), "body": ASK, **changed})


@pytest.fixture
async def agencies(tmp_path):
    async with Agencies(tmp_path).running() as running:
        running.population.register.answer = Response(0, ANSWER, subjects=(MARI,))
        yield running


async def test_an_answer_comes_back_and_both_sides_hold_the_same_parts(agencies):
    answer = await agencies.tax.exchange(request())
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
    asked = [agencies.tax.exchange(request()) for _ in range(32)]
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
        await agencies.tax.exchange(request(**changed))
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
        await agencies.tax.exchange(request(block=replace(BLOCK, subjects=(JUKU,))))
    refused, said = agencies.population.ledger.records
    assert JUKU.encode() in {field.value for field in refused.fields}
    assert {JUKU.encode(), MARI.encode()} <= {field.value for field in said.fields}


async def test_a_right_may_be_to_one_method_only(agencies):
    agencies.grant(
        AccessRight(PERSONS, TAX, "population.v1.PersonRegistry/FindPersons")
    )
    with pytest.raises(AccessDenied):
        await agencies.tax.exchange(request())
    agencies.grant(AccessRight(PERSONS, TAX, METHOD))
    assert await agencies.tax.exchange(request())


async def test_what_was_refused_may_be_sent_again_with_the_same_id(agencies):
    agencies.grant()
    same = new_message_id()
    with pytest.raises(AccessDenied):
        await agencies.tax.exchange(request(message_id=same))
    agencies.grant(AccessRight(PERSONS, TAX))
    assert await agencies.tax.exchange(request(message_id=same))


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
        await agencies.tax.exchange(request(**changed))
    assert refused.value.origin is None
    assert refused.value.execution is Execution.NOT_EXECUTED
    assert agencies.tax.ledger.records == []


async def test_a_refusal_at_home_is_recorded_under_the_persons_declared(agencies):
    asked = request(block=replace(BLOCK, purpose="CURIOSITY"))
    with pytest.raises(PurposeUnknown) as refused:
        await agencies.tax.exchange(asked)
    await agencies.tax.assembled.refusals.record(asked, refused.value)
    (recorded,) = agencies.tax.ledger.records
    assert recorded.kind is Kind.REQUEST_REFUSED
    assert MARI.encode() in {field.value for field in recorded.fields}
    # A purpose that is nobody's list is the caller's text, and not kept.
    assert b"CURIOSITY" not in recorded.part.head


async def test_a_message_is_received_once_however_often_it_is_sent(agencies):
    same = request()
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
        await agencies.tax.exchange(request())
    assert refused.value.execution is Execution.NOT_EXECUTED
    assert agencies.population.ledger.records == []


async def test_nothing_is_asked_that_the_providers_ledger_does_not_hold(agencies):
    agencies.population.ledger.down = True
    with pytest.raises(LedgerUnavailable) as refused:
        await agencies.tax.exchange(request())
    assert refused.value.execution is Execution.NOT_EXECUTED
    assert agencies.population.register.calls == 0
    agencies.population.ledger.down = False
    assert await agencies.tax.exchange(request())


async def test_an_answer_that_cannot_be_recorded_is_not_released(agencies):
    register, ledger = agencies.population.register, agencies.population.ledger

    async def call(received, timeout_s):
        ledger.down = True
        return register.answer

    register.call = call
    with pytest.raises(LedgerUnavailable) as refused:
        await agencies.tax.exchange(request())
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
        await agencies.tax.exchange(request(), timeout_s=1.0)
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
    asking = asyncio.create_task(agencies.tax.exchange(request()))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_peer_that_is_not_there_is_a_fault_of_its_own(agencies):
    await agencies.population.grpc.stop(None)
    with pytest.raises(PeerUnreachable) as silent:
        await agencies.tax.exchange(request())
    assert silent.value.execution is Execution.NOT_EXECUTED


async def test_a_peer_that_dies_under_way_leaves_the_outcome_unknown(agencies):
    begun = asyncio.Event()

    async def call(received, timeout_s):
        begun.set()
        await asyncio.Event().wait()

    agencies.population.register.call = call
    asking = asyncio.create_task(agencies.tax.exchange(request()))
    await begun.wait()
    await agencies.population.grpc.stop(None)
    with pytest.raises(PeerUnreachable) as lost:
        await asking
    assert lost.value.execution is Execution.UNKNOWN


async def test_a_peers_restart_is_met_by_a_new_stream(agencies):
    await agencies.tax.exchange(request())
    port = int(agencies.registry.held.servers[POPULATION_SERVER].address.split(":")[1])
    await agencies.population.stop()
    client = None
    await agencies.population.start(
        agencies.registry, agencies.directory / "again", client, port
    )
    async with asyncio.timeout(10):
        while True:
            with suppress(PeerUnreachable):
                await agencies.tax.exchange(request())
                break


async def test_evidence_that_a_peer_has_forgotten_is_sent_again(agencies):
    await agencies.tax.exchange(request())
    forgotten = agencies.population.assembled.exchange._signers
    forgotten._held.clear()
    forgotten._judged.clear()
    assert await agencies.tax.exchange(request())


async def test_nobody_signs_with_a_revoked_certificate(agencies):
    agencies.tax.learn(agencies.tax.party.signing.certificate, REVOKED)
    with pytest.raises(CertificateRevoked) as refused:
        await agencies.tax.exchange(request())
    assert refused.value.execution is Execution.NOT_EXECUTED


async def test_a_revoked_server_is_refused_in_the_middle_of_a_stream(agencies):
    await agencies.tax.exchange(request())
    agencies.population.learn(agencies.tax.party.authentication.certificate, REVOKED)
    with pytest.raises(CertificateRevoked) as refused:
        await agencies.tax.exchange(request())
    assert refused.value.origin == POPULATION_SERVER
    assert agencies.population.register.calls == 1
    # And at once when it comes again.
    with pytest.raises(CertificateRevoked) as refused:
        await agencies.tax.exchange(request())
    assert refused.value.execution is Execution.UNKNOWN or refused.value.origin


async def test_a_server_whose_certificate_is_not_registered_is_refused(agencies):
    stranger = Party(agencies.pki, TAX.member, TAX_SERVER)
    agencies.tax.party.authentication_key = stranger.authentication_key
    agencies.tax.party.authentication = stranger.authentication
    await agencies.tax.stop()
    await agencies.tax.start(agencies.registry, agencies.directory / "again", None)
    with pytest.raises(CertificateUnknown) as refused:
        await agencies.tax.exchange(request())
    assert refused.value.origin == POPULATION_SERVER
    assert agencies.population.ledger.records == []


async def test_another_servers_address_reaches_nobody_else(agencies):
    """The channel pins the registered certificate: a sibling's own is not enough."""
    servers = dict(agencies.registry.held.servers)
    sibling = Party(agencies.pki, POPULATION_SERVER.owner, POPULATION_SERVER)
    servers[POPULATION_SERVER] = replace(
        servers[POPULATION_SERVER],
        authentication_certificates=(sibling.authentication.certificate,),
    )
    agencies.registry.change(servers=MappingProxyType(servers))
    with pytest.raises(PeerUnreachable) as refused:
        await agencies.tax.exchange(request())
    assert refused.value.execution is Execution.NOT_EXECUTED


async def test_an_expired_configuration_stops_both_sides(agencies):
    agencies.registry.expired = True
    with pytest.raises(ConfigurationExpired) as refused:
        await agencies.tax.exchange(request())
    assert refused.value.execution is Execution.NOT_EXECUTED


async def test_a_part_before_hello_ends_the_stream(agencies):
    target = agencies.registry.held.servers[POPULATION_SERVER]
    credentials = agencies.tax.keys().tls.channel_credentials(
        target.authentication_certificates
    )
    options = (
        *OPTIONS,
        ("grpc.ssl_target_name_override", POPULATION_SERVER.host_name),
    )
    async with aio.secure_channel(target.address, credentials, options) as channel:
        stream = ExchangeServiceStub(channel).Exchange()
        frame = Frame(exchange_id=7, part=SignedPart())
        await stream.write(Frames(frames=[frame]))
        with pytest.raises(aio.AioRpcError) as ended:
            await stream.read()
    assert "FRAME_UNEXPECTED" in ended.value.details()


async def test_no_client_certificate_no_stream(agencies):
    address = agencies.registry.held.servers[POPULATION_SERVER].address
    async with aio.insecure_channel(address) as channel:
        stream = ExchangeServiceStub(channel).Exchange(timeout=5)
        with pytest.raises(aio.AioRpcError):
            await stream.read()


async def test_refusals_that_are_alike_fold_within_a_second(agencies):
    agencies.grant()
    for _ in range(5):
        with pytest.raises(AccessDenied):
            await agencies.tax.exchange(request())
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
