"""Calls to a member's system, as the walk makes them."""

import asyncio
from dataclasses import replace

from messaging.envelope import Identities, Request
from security_server.access_rights import AuthorisedRequest
from security_server.call_metadata import new_message_id
from security_server.message_log import Logged
from security_server.registration.services import registered_service
from tests.security_server.descriptors import (
    DESCRIPTORS,
    GET,
    PERSONS,
    POPULATION,
    TAX,
    message,
    person,
)
from tests.security_server.systems import messages_of
from vocabulary.identifiers import SecurityServerId

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
