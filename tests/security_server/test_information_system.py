"""Calls to a member's system over real gRPC: what passes, and what is a fault."""

import asyncio
import socket
from dataclasses import replace
from time import monotonic

import pytest
from grpc import StatusCode

from messaging.envelope import Identities, PurposeBlock, Request, Response
from messaging.transport import MESSAGE_LIMIT
from security_server.access_rights import AuthorisedRequest
from security_server.call_metadata import new_message_id
from security_server.description import read_description
from security_server.information_system import InformationSystem
from security_server.message_log import Logged
from security_server.services import DESCRIBE, registered_service
from tests.security_server.descriptors import (
    DESCRIPTORS,
    GET,
    PERSONS,
    POPULATION,
    TAX,
    message,
    person,
)
from tests.security_server.systems import SILENT_COMMAND, System, messages_of, running
from tests.security_server.waiting import until
from vocabulary.faults import (
    DeadlineExceeded,
    Execution,
    LimitExceeded,
    MessageInvalid,
    MetadataInvalid,
    SystemUnreachable,
)
from vocabulary.identifiers import MemberId, SecurityServerId

ANN, BEN = "PNOEE-39901012239", "PNOEE-38001085718"
ANSWER = message("Answer", person=person(ANN, BEN))


def received(address, *, personal=False, method=GET, **changed):
    subjects = {
        "personal": True,
        "request_subjects": ["GetRequest.code"],
        "response_subjects": ["Person.code"],
    }
    service = registered_service(
        PERSONS, address, DESCRIPTORS, **(subjects if personal else {})
    )
    identities = Identities(
        new_message_id(),
        TAX,
        PERSONS,
        method,
        SecurityServerId(TAX.member, "ss1"),
        SecurityServerId(POPULATION.member, "ss1"),
    )
    request = replace(Request(identities, b"asked"), **changed)
    return Logged(AuthorisedRequest(request, None, None, service), 1, b"")


async def echo(context, bodies):
    bodies += await messages_of(context)
    await context.write(bodies[-1])


async def hang(context, _bodies):
    await messages_of(context)
    await asyncio.Event().wait()


@pytest.fixture
async def caller():
    system = InformationSystem(monotonic)
    yield system
    await system.close()


async def test_the_message_goes_out_and_comes_back_as_it_was(caller):
    system = System(echo)
    async with running(system):
        response = await caller.call(received(system.address), 5)
    assert response == Response(0, b"asked")
    assert system.methods == [f"/{GET}"]


async def test_the_system_is_told_who_asks_by_this_server_alone(caller):
    system = System(echo)
    spoofed = (
        ("ristmik-client", b"EE-TEST/GOV/1/a"),
        ("ristmik-subject", b"PNOEE-1"),
        ("ristmik-origin", b"service"),
        ("grpc-timeout", b"1S"),
        ("user-agent", b"me"),
        ("te", b"trailers"),
    )
    own = (("k", b"v"), ("k", b"w"), ("x-bin", b"\x00\xff"), ("x-bin", b""))
    block = PurposeBlock("audit", "law-1", (ANN, BEN), "asi § 7")
    said = received(
        "127.0.0.1:1",
        purpose_block=block,
        metadata=(*spoofed, *own),
        represented=MemberId("EE-TEST", "GOV", "7"),
    )
    async with running(system):
        service = replace(said.subject.service, address=system.address)
        await caller.call(
            replace(said, subject=replace(said.subject, service=service)), 5
        )
    (told,) = system.metadata
    assert [(k, v) for k, v in told if k in {"k", "x-bin"}] == [
        ("k", "v"),
        ("k", "w"),
        ("x-bin", b"\x00\xff"),
        ("x-bin", b""),
    ]
    assert sorted((k, v) for k, v in told if k.startswith("ristmik-")) == [
        ("ristmik-case", "asi %C2%A7 7"),
        ("ristmik-client", str(TAX)),
        ("ristmik-legal-basis", "law-1"),
        ("ristmik-message-id", said.subject.request.identities.message_id),
        ("ristmik-purpose", "audit"),
        ("ristmik-represented", "EE-TEST/GOV/7"),
        ("ristmik-service", str(PERSONS)),
        ("ristmik-subject", BEN),
        ("ristmik-subject", ANN),
    ]
    assert [v for k, v in told if k == "user-agent" and "me" in v.split()] == []


async def test_status_details_and_metadata_come_back_unchanged(caller):
    async def refuse(context, _bodies):
        await messages_of(context)
        await context.send_initial_metadata((("i", "1"), ("i", "2"), ("ristmik-x", "")))
        await context.abort(
            StatusCode.NOT_FOUND,
            "isikut ei leitud: šžõ % ✓",
            (("t", "1"), ("grpc-status-details-bin", b"\x08\x05"), ("ristmik-y", "1")),
        )

    system = System(refuse)
    async with running(system):
        response = await caller.call(received(system.address), 5)
    assert response == Response(
        5,
        None,
        "isikut ei leitud: šžõ % ✓",
        (("i", b"1"), ("i", b"2")),
        (("t", b"1"), ("grpc-status-details-bin", b"\x08\x05")),
    )


async def test_details_pass_with_a_good_status_too(caller):
    async def answer(context, bodies):
        context.set_trailing_metadata((("grpc-status-details-bin", b"\x01"),))
        await echo(context, bodies)

    system = System(answer)
    async with running(system):
        response = await caller.call(received(system.address), 5)
    assert (response.status, response.body) == (0, b"asked")
    assert response.trailing_metadata == (("grpc-status-details-bin", b"\x01"),)


@pytest.mark.parametrize("code", [each for each in StatusCode if each.value[0]])
async def test_every_status_of_the_system_is_its_own(caller, code):
    async def refuse(context, _bodies):
        await messages_of(context)
        await context.abort(code, "no")

    system = System(refuse)
    async with running(system):
        response = await caller.call(received(system.address), 5)
    assert response == Response(code.value[0], None, "no")


async def test_a_status_given_before_the_message_was_read_is_never_another(caller):
    async def refuse(context, _bodies):
        await context.abort(StatusCode.UNIMPLEMENTED, "no such method")

    system = System(refuse)
    async with running(system):
        asked = received(system.address, body=b"x" * MESSAGE_LIMIT)
        for _ in range(40):
            response = await caller.call(asked, 5)
            assert response == Response(12, None, "no such method")
            small = await caller.call(received(system.address), 5)
            assert small == Response(12, None, "no such method")


async def test_a_message_over_4_mib_passes(caller):
    system = System(echo)
    async with running(system):
        body = bytes(5 << 20)
        response = await caller.call(received(system.address, body=body), 20)
    assert response.body == body


@pytest.mark.parametrize("over", [1, 2 << 20])
async def test_an_answer_over_the_limit_is_refused_by_name(caller, over):
    async def answer(context, _bodies):
        await messages_of(context)
        await context.write(bytes(MESSAGE_LIMIT + over))

    system = System(answer)
    async with running(system):
        with pytest.raises(LimitExceeded, match="message") as refused:
            await caller.call(received(system.address), 20)
    assert refused.value.execution is Execution.EXECUTED


async def test_metadata_over_the_limit_is_refused_by_name(caller):
    async def answer(context, bodies):
        await context.send_initial_metadata((("k", "v" * (17 << 10)),))
        await echo(context, bodies)

    system = System(answer)
    async with running(system):
        with pytest.raises(LimitExceeded, match="metadata") as refused:
            await caller.call(received(system.address), 5)
    assert refused.value.execution is Execution.EXECUTED


async def test_a_second_message_is_refused(caller):
    ended = asyncio.Event()

    async def answer(context, bodies):
        await echo(context, bodies)
        await context.write(b"another")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    system = System(answer)
    async with running(system):
        with pytest.raises(MessageInvalid, match="second") as refused:
            await caller.call(received(system.address), 5)
        await asyncio.wait_for(ended.wait(), 5)
    assert refused.value.execution is Execution.EXECUTED


async def test_nobody_listening_is_a_fault_and_nothing_was_executed(caller):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for _ in range(3):
        with pytest.raises(SystemUnreachable, match="start it") as refused:
            await caller.call(received(address), 5)
        assert refused.value.execution is Execution.NOT_EXECUTED


async def test_a_system_that_comes_back_is_called_again(caller):
    system = System(echo)
    async with running(system):
        await caller.call(received(system.address), 5)
    port = int(system.address.rpartition(":")[2])
    with pytest.raises(SystemUnreachable):
        await caller.call(received(system.address), 5)
    async with running(system, port=port):
        response = await caller.call(received(system.address), 5)
    assert response.body == b"asked"


async def test_a_peer_that_speaks_no_http_2_is_unreachable(caller):
    async def close(_reader, writer):
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SystemUnreachable) as refused:
            await caller.call(received(f"127.0.0.1:{port}"), 5)
    assert refused.value.execution is Execution.NOT_EXECUTED


async def test_an_address_that_takes_no_connection_costs_no_more_than_the_time(caller):
    # Listening with a full backlog: the handshake is never answered.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        started = monotonic()
        with pytest.raises(DeadlineExceeded) as refused:
            await caller.call(received(address), 0.2)
    assert refused.value.execution is Execution.NOT_EXECUTED
    assert monotonic() - started < 2


async def test_a_system_that_dies_under_the_call_leaves_the_outcome_open(caller):
    process = await asyncio.create_subprocess_exec(
        *SILENT_COMMAND, stdout=asyncio.subprocess.PIPE
    )
    port = int(await process.stdout.readline())
    called = asyncio.create_task(caller.call(received(f"127.0.0.1:{port}"), 20))
    assert await process.stdout.readline() == b"called\n"
    process.kill()
    with pytest.raises(SystemUnreachable, match="lost") as refused:
        await called
    assert refused.value.execution is Execution.UNKNOWN
    await process.wait()
    process._transport.close()


async def test_a_system_that_is_stopped_under_the_call_leaves_the_outcome_open(caller):
    system = System(hang)
    async with running(system) as server:
        called = asyncio.create_task(caller.call(received(system.address), 20))
        await until(lambda: system.methods)
        await server.stop(0)
        with pytest.raises(SystemUnreachable, match="lost") as refused:
            await called
    assert refused.value.execution is Execution.UNKNOWN


async def test_a_slow_system_is_given_the_callers_time_and_no_more(caller):
    left = []

    async def slow(context, bodies):
        left.append(context.time_remaining())
        await hang(context, bodies)

    system = System(slow)
    async with running(system):
        with pytest.raises(DeadlineExceeded, match="in time") as refused:
            await caller.call(received(system.address), 0.4)
    assert refused.value.execution is Execution.UNKNOWN
    assert 0 < left[0] <= 0.4


async def test_cancelling_reaches_the_system(caller):
    cancelled = asyncio.Event()

    async def wait(context, _bodies):
        try:
            await hang(context, _bodies)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    system = System(wait)
    async with running(system):
        called = asyncio.create_task(caller.call(received(system.address), 20))
        await until(lambda: system.methods)
        called.cancel()
        await asyncio.wait_for(cancelled.wait(), 1)
        with pytest.raises(asyncio.CancelledError):
            await called


async def test_persons_in_the_answer_become_its_subjects(caller):
    async def answer(context, _bodies):
        await messages_of(context)
        await context.write(ANSWER)

    system = System(answer)
    async with running(system):
        found = await caller.call(received(system.address, personal=True), 5)
        plain = await caller.call(received(system.address), 5)
    assert (found.subjects, plain.subjects) == ((ANN, BEN), ())


@pytest.mark.parametrize("body", [b"\xff", message("Answer", person=person("Ann"))])
async def test_an_answer_whose_persons_cannot_be_read_is_not_released(caller, body):
    async def answer(context, _bodies):
        await messages_of(context)
        await context.write(body)

    system = System(answer)
    async with running(system):
        with pytest.raises(MessageInvalid) as refused:
            await caller.call(received(system.address, personal=True), 5)
    assert refused.value.execution is Execution.EXECUTED


async def test_an_answer_without_a_message_passes(caller):
    async def answer(context, _bodies):
        await messages_of(context)

    system = System(answer)
    async with running(system):
        response = await caller.call(received(system.address, personal=True), 5)
    assert response == Response(0, None)


async def test_metadata_that_grpc_would_not_take_is_refused_before_the_call(caller):
    system = System(echo)
    async with running(system):
        asked = received(system.address, metadata=(("k", b"\xff"),))
        with pytest.raises(MetadataInvalid) as refused:
            await caller.call(asked, 5)
    assert refused.value.execution is Execution.NOT_EXECUTED
    assert not system.methods


async def test_what_a_service_offers_is_answered_without_the_system(caller):
    asked = received("127.0.0.1:1", personal=True, method=DESCRIBE)
    described = read_description((await caller.call(asked, 5)).body)
    assert described.personal
    assert described.description.grpc_services == ("persons.v1.Persons",)
    assert described.description.descriptors == DESCRIPTORS


async def test_one_connection_serves_many_calls(caller):
    peers = []

    async def answer(context, bodies):
        peers.append(context.peer())
        await echo(context, bodies)

    system = System(answer)
    async with running(system):
        asked = [caller.call(received(system.address), 5) for _ in range(50)]
        await asyncio.gather(*asked)
    assert len(set(peers)) == 1
