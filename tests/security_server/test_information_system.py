"""Calls to a member's system over real gRPC: what passes, and what is a fault."""

import asyncio
from dataclasses import replace
from time import monotonic

import pytest
from grpc import StatusCode

from messaging.envelope import PurposeBlock, Response
from messaging.transport import MESSAGE_LIMIT
from security_server.information_system import InformationSystem
from security_server.local_leg.description import read_description
from security_server.registration.services import DESCRIBE
from tests.security_server.calling import ANN, ANSWER, BEN, echo, received
from tests.security_server.descriptors import (
    DESCRIPTORS,
    GET,
    PERSONS,
    TAX,
    message,
    person,
)
from tests.security_server.systems import System, messages_of, running
from vocabulary.faults import (
    Execution,
    MessageInvalid,
    MetadataInvalid,
)
from vocabulary.identifiers import MemberId


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
