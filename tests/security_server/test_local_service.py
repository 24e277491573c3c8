"""The local leg as an ordinary gRPC client sees it: what passes and what is refused."""

import asyncio
from dataclasses import replace

import pytest
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from messaging.envelope import Response
from security_server.access_rights import Demands
from security_server.call_metadata import new_message_id
from security_server.local_leg.call import Limits
from security_server.reflection import reflect
from security_server.registration.services import DESCRIBE
from tests.security_server.descriptors import (
    GET,
    LIST,
    PERSONS,
    POPULATION,
    TAX,
    WATCH,
)
from tests.security_server.local_leg import (
    ANN,
    HERE,
    NAMED,
    THERE,
    WHY,
    LocalLeg,
    Walk,
    call,
    fault_in,
    refused,
)
from tests.security_server.waiting import until
from vocabulary.faults import (
    AccessDenied,
    Execution,
    LedgerUnavailable,
    PeerUnreachable,
    PurposeMissing,
)

MIB = 1 << 20


async def test_a_call_becomes_a_request_and_its_answer_comes_back():
    leg = LocalLeg()
    message_id = new_message_id()
    metadata = (
        *NAMED,
        *WHY,
        ("ristmik-message-id", message_id),
        ("ristmik-case", "7 %C2%A7"),
        ("ristmik-origin", "somewhere"),
        ("k", "v"),
        ("k", "w"),
        ("x-bin", b"\x00\xff"),
    )
    async with leg.connected() as channel:
        outcome = await call(channel, GET, b"\x00\xffasked", metadata=metadata)
    ((request, demands),) = leg.walk.requests
    named = request.identities
    assert (named.client, named.service, named.method) == (TAX, PERSONS, GET)
    assert (named.consumer_server, named.provider_server) == (HERE, THERE)
    assert named.message_id == message_id
    assert request.body == b"\x00\xffasked"
    assert request.metadata == (("k", b"v"), ("k", b"w"), ("x-bin", b"\x00\xff"))
    assert request.purpose_block.subjects == (ANN,)
    assert request.purpose_block.case == "7 §"
    assert demands is Demands.NOTHING
    assert outcome.code is StatusCode.OK
    assert outcome.bodies == [b"\x00\xffasked"]
    assert outcome.trailing == {
        "ristmik-message-id": message_id,
        "ristmik-record": "8",
        "ristmik-origin": "service",
    }
    assert not leg.refused.faults


async def test_a_status_of_the_service_passes_unchanged_and_is_marked_so():
    async def answer(_request, _timeout_s):
        return Response(
            5,
            None,
            "isikut ei leitud: šžõ % ✓",
            (("i", b"1"), ("i-bin", b"\x00")),
            (
                ("t", b"1"),
                ("grpc-status-details-bin", b"\x08\x05"),
                ("ristmik-origin", b"EE-TEST/GOV/1/ss1"),
                ("ristmik-record", b"99"),
            ),
        )

    async with LocalLeg(Walk(answer)).connected() as channel:
        outcome = await call(channel, GET)
    assert (outcome.code, outcome.message) == (
        StatusCode.NOT_FOUND,
        "isikut ei leitud: šžõ % ✓",
    )
    assert outcome.initial == (("i", "1"), ("i-bin", b"\x00"))
    assert outcome.trailing.pop("ristmik-message-id")
    assert outcome.trailing == {
        "t": "1",
        "grpc-status-details-bin": b"\x08\x05",
        "ristmik-record": "8",
        "ristmik-origin": "service",
    }


async def test_details_and_message_pass_with_a_good_status_and_a_bad_one():
    async def answer(request, _timeout_s):
        details = (("grpc-status-details-bin", b"\x01"),)
        status = 0 if request.body == b"good" else 9
        return Response(status, request.body, "so", (), details)

    async with LocalLeg(Walk(answer)).connected() as channel:
        good = await call(channel, GET, b"good")
        bad = await call(channel, GET, b"bad")
    assert (good.code, good.bodies) == (StatusCode.OK, [b"good"])
    assert (bad.code, bad.bodies) == (StatusCode.FAILED_PRECONDITION, [b"bad"])
    assert bad.message == "so"
    for each in (good, bad):
        assert each.trailing["grpc-status-details-bin"] == b"\x01"


@pytest.mark.parametrize("code", list(StatusCode))
async def test_every_status_arrives_each_of_40_times(code):
    async def answer(_request, _timeout_s):
        return Response(code.value[0], None, f"it is {code.name}")

    async with LocalLeg(Walk(answer)).connected() as channel:
        for _ in range(40):
            outcome = await call(channel, GET)
            assert outcome.code is code
            # gRPC carries no message with OK.
            assert outcome.message == (f"it is {code.name}" if code.value[0] else "")
            assert outcome.trailing["ristmik-origin"] == "service"


@pytest.mark.parametrize("size", [100, 2 * MIB])
async def test_a_refusal_is_never_another_status_each_of_40_times(size):
    leg, body = LocalLeg(), bytes(size)
    async with leg.connected() as channel:
        for _ in range(40):
            outcome = await call(channel, "persons.v1.Persons/Put", body)
            assert outcome.code is StatusCode.UNIMPLEMENTED
            assert fault_in(outcome).code == "METHOD_UNKNOWN"


async def test_empty_and_large_messages_are_carried():
    leg = LocalLeg()
    async with leg.connected() as channel:
        for body in (b"", bytes(5 * MIB), bytes(16 * MIB)):
            outcome = await call(channel, GET, body)
            assert outcome.code is StatusCode.OK
            assert outcome.bodies == [body]


async def test_a_personal_service_is_told_to_the_walk():
    leg = LocalLeg(Walk(personal=True))
    async with leg.connected() as channel:
        await call(channel, GET, metadata=(*NAMED, *WHY))
    ((_, demands),) = leg.walk.requests
    assert demands is Demands.PURPOSE_AND_SUBJECTS


async def test_a_fault_of_the_walk_is_recorded_unless_a_peer_signed_it():
    def failing(fault):
        async def answer(_request, _timeout_s):
            raise fault

        return LocalLeg(Walk(answer))

    ours, theirs = PurposeMissing("say why"), AccessDenied("no right")
    ours.execution = theirs.execution = Execution.NOT_EXECUTED
    theirs.origin, theirs.recorded = THERE, True
    leg = failing(ours)
    outcome, fault = await refused(leg)
    assert (outcome.code, fault.origin) == (StatusCode.INVALID_ARGUMENT, HERE)
    assert [each.code for each in leg.refused.faults] == ["PURPOSE_MISSING"]
    leg = failing(theirs)
    outcome, fault = await refused(leg)
    assert outcome.code is StatusCode.PERMISSION_DENIED
    assert outcome.trailing["ristmik-origin"] == str(THERE)
    assert fault.execution is Execution.NOT_EXECUTED
    assert not leg.refused.faults
    # What a peer ended a stream with is its word, and stands nowhere yet.
    theirs.recorded = False
    _, fault = await refused(leg)
    assert fault.origin == THERE
    assert [each.code for each in leg.refused.faults] == ["ACCESS_DENIED"]


async def test_what_is_not_known_of_execution_stays_so():
    async def answer(_request, _timeout_s):
        raise PeerUnreachable("gone")

    outcome, fault = await refused(LocalLeg(Walk(answer)))
    assert outcome.code is StatusCode.UNAVAILABLE
    assert fault.execution is Execution.UNKNOWN


async def test_a_defect_is_internal_and_tells_no_secret():
    async def answer(_request, _timeout_s):
        raise RuntimeError("password")

    leg = LocalLeg(Walk(answer))
    outcome, fault = await refused(leg)
    assert outcome.code is StatusCode.INTERNAL
    assert "password" not in outcome.message
    assert fault.execution is Execution.UNKNOWN
    assert [each.code for each in leg.refused.faults] == ["INTERNAL"]


async def test_a_refusal_that_cannot_be_recorded_is_the_ledgers_refusal():
    leg = LocalLeg()
    leg.refused.unavailable = LedgerUnavailable("start PostgreSQL")
    outcome, fault = await refused(leg, method=WATCH)
    assert outcome.code is StatusCode.UNAVAILABLE
    assert fault.code == "LEDGER_UNAVAILABLE"
    assert fault.execution is Execution.NOT_EXECUTED


async def test_the_callers_deadline_is_passed_on_a_little_shorter():
    leg = LocalLeg()
    async with leg.connected() as channel:
        await call(channel, GET, seconds=5)
        await call(channel, GET, seconds=1000)
        await call(channel, GET, seconds=None)
    named, far, none = leg.walk.times
    assert 4 < named < 5
    assert 298 < far < 300
    assert 58 < none < 60


async def test_a_walk_that_outlasts_its_time_ends_in_a_fault():
    async def answer(_request, _timeout_s):
        await asyncio.Event().wait()

    leg = LocalLeg(Walk(answer), limits=Limits(longest_timeout_s=2))
    outcome, fault = await refused(leg, seconds=30)
    assert outcome.code is StatusCode.DEADLINE_EXCEEDED
    assert (fault.code, fault.origin) == ("DEADLINE_EXCEEDED", HERE)
    assert fault.execution is Execution.UNKNOWN
    assert [each.code for each in leg.refused.faults] == ["DEADLINE_EXCEEDED"]


async def test_a_caller_that_sends_nothing_is_not_waited_for_longer_than_that():
    leg = LocalLeg(limits=Limits(timeout_s=0.3))
    async with leg.connected() as channel:
        asked = channel.stream_stream(f"/{GET}")(metadata=NAMED)
        assert await asked.code() is StatusCode.DEADLINE_EXCEEDED
    assert leg.refused.faults[0].execution is Execution.NOT_EXECUTED


async def test_cancelling_reaches_the_walk_and_is_recorded():
    began, ended = asyncio.Event(), asyncio.Event()

    async def answer(_request, _timeout_s):
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    leg = LocalLeg(Walk(answer))
    async with leg.connected() as channel:
        asked = channel.unary_unary(f"/{GET}")(b"asked", metadata=NAMED)
        await began.wait()
        asked.cancel()
        await asyncio.wait_for(ended.wait(), 1)
        await until(lambda: leg.refused.faults)
    assert leg.refused.faults[0].code == "CANCELLED"
    assert leg.refused.faults[0].execution is Execution.UNKNOWN


async def test_a_client_has_so_many_exchanges_under_way_and_no_more():
    go_on = asyncio.Event()

    async def answer(request, _timeout_s):
        await go_on.wait()
        return Response(0, request.body)

    leg = LocalLeg(Walk(answer), limits=Limits(exchanges_per_client=3))
    async with leg.connected() as channel:
        waiting = [asyncio.create_task(call(channel, GET)) for _ in range(3)]
        await until(lambda: len(leg.walk.requests) == 3)
        outcome = await call(channel, GET)
        go_on.set()
        answered = await asyncio.gather(*waiting)
        again = await call(channel, GET)
    assert outcome.code is StatusCode.RESOURCE_EXHAUSTED
    assert fault_in(outcome).detail.startswith("concurrent exchanges")
    assert {each.code for each in (*answered, again)} == {StatusCode.OK}


async def test_a_service_is_described_once_and_again_before_a_refusal():
    now = [0.0]
    leg = LocalLeg(now_s=lambda: now[0])
    async with leg.connected() as channel:
        await asyncio.gather(*(call(channel, GET) for _ in range(10)))
        await call(channel, LIST)
        assert len(leg.walk.described) == 1
        await call(channel, WATCH)
        assert len(leg.walk.described) == 1
        now[0] = 2.0
        await call(channel, WATCH)
        assert len(leg.walk.described) == 2
        leg.walk.personal = True
        now[0] = 4.0
        await call(channel, GET)
        assert len(leg.walk.described) == 2
        now[0] = 63.0
        await call(channel, GET, metadata=(*NAMED, *WHY))
        assert len(leg.walk.described) == 3
        leg.walk.personal = False
        now[0] = 65.0
        await call(channel, GET)
    assert len(leg.walk.described) == 4
    assert [demands for _, demands in leg.walk.requests][-2:] == [
        Demands.PURPOSE_AND_SUBJECTS,
        Demands.NOTHING,
    ]


async def test_describing_is_an_exchange_of_the_client_with_an_id_of_its_own():
    leg = LocalLeg()
    async with leg.connected() as channel:
        await call(channel, GET, metadata=(*NAMED, *WHY))
        outcome = await call(channel, DESCRIBE, b"")
    first, second = (each.identities for each in leg.walk.described)
    called = leg.walk.requests[0][0].identities
    assert replace(first, message_id="", method=GET) == replace(called, message_id="")
    assert first.message_id != called.message_id
    assert leg.walk.described[0].purpose_block.subjects == ()
    assert second.method == DESCRIBE
    assert outcome.code is StatusCode.OK


async def test_health_is_answered_here():
    leg = LocalLeg()
    async with leg.connected() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(aio.AioRpcError) as ended:
            await stub.Check(health_pb2.HealthCheckRequest(), metadata=NAMED)
    assert ended.value.code() is StatusCode.UNIMPLEMENTED
    assert leg.refused.faults[0].code == "METHOD_UNKNOWN"


async def test_reflection_is_about_this_server_or_about_the_service_named():
    leg = LocalLeg()
    async with leg.connected() as channel:
        for version in ("v1", "v1alpha"):
            path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
            asked = channel.stream_stream(path)
            here = [each async for each in asked(iter([b"\x3a\x00"]))]
            there = [each async for each in asked(iter([b"\x3a\x00"]), metadata=NAMED)]
            assert b"grpc.health.v1.Health" in here[0]
            assert b"persons.v1.Persons" in there[0]
            assert b"Health" not in there[0]
            symbol = b"\x22\x12persons.v1.Persons"
            (file,) = [each async for each in asked(iter([symbol]), metadata=NAMED)]
            assert b"persons/v1/types.proto" in file
    assert (await asyncio.wait_for(_refused_reflection(), 10)) == "CLIENT_UNKNOWN"


async def _refused_reflection():
    leg = LocalLeg()
    metadata = (("ristmik-client", str(POPULATION)), NAMED[1])
    outcome, fault = await refused(
        leg,
        method="grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        metadata=metadata,
    )
    assert outcome.code is StatusCode.UNAUTHENTICATED
    return fault.code


async def test_this_servers_own_reflection_is_read_by_our_own_client():
    leg = LocalLeg()
    async with leg.running():
        reflected = await reflect(leg.address)
    assert reflected.grpc_services == ()


async def test_a_call_without_any_metadata_says_what_to_add():
    outcome, fault = await refused(LocalLeg(), metadata=())
    assert "ristmik-client" in fault.detail
    assert outcome.message.startswith("METADATA_INVALID")
