"""Metadata that cannot be read: METADATA_INVALID, whatever is wrong with it."""

import asyncio
from typing import Any

import pytest
from grpc import StatusCode, aio

from tests.end_to_end.calling import Metadata, Outcome, ask, new_message_id
from tests.end_to_end.instance import Instance
from tests.end_to_end.refusals import (
    Refused,
    assert_refused,
    await_refusals,
    refusals,
)
from tests.end_to_end.waiting import until

GET_PERSON = "population.v1.PersonRegistry/GetPerson"
PERSONS = "EE-SANDBOX/GOV/70008440/population/persons/v1"
REFUSED = Refused("METADATA_INVALID", StatusCode.INVALID_ARGUMENT)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UUID_V4 = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
UUID_V7 = "01890a5d-ac96-774b-bcce-b302099a8057"

# Without these it cannot be said what was asked of whom.
UNREADABLE_NAMES: dict[str, dict[str, Any]] = {
    "no service": {"service": None},
    "an empty service": {"service": ""},
    "two services": {"service": [PERSONS, PERSONS]},
    "a service without a version": {"service": PERSONS.removesuffix("/v1")},
    "a service with a part too many": {"service": f"{PERSONS}/x"},
    "a service that ends in a slash": {"service": f"{PERSONS}/"},
    "a service with an empty part": {"service": PERSONS.replace("GOV", "")},
    "a service with a leading dot": {"service": PERSONS.replace("v1", "..")},
    "a service with a blank": {"service": PERSONS.replace("persons", "per sons")},
    "a service with letters beyond ASCII": {"service": f"{PERSONS}%C3%A4"},
    "a service with a part too long": {"service": f"{PERSONS}{'1' * 64}"},
    "a service with a new line": {"service": f"{PERSONS}%0A"},
    "a service that is not UTF-8": {"service": f"{PERSONS}%FF"},
    "a service with half an escape": {"service": f"{PERSONS}%2"},
    "a message id that is no UUID": {"message_id": "1"},
    "an empty message id": {"message_id": ""},
    "a message id of version 4": {"message_id": UUID_V4},
    "a message id in upper case": {"message_id": UUID_V7.upper()},
    "a message id in braces": {"message_id": f"{{{UUID_V7}}}"},
    "a message id as a URN": {"message_id": f"urn:uuid:{UUID_V7}"},
    "a message id without hyphens": {"message_id": UUID_V7.replace("-", "")},
    "two message ids": {"message_id": [UUID_V7, UUID_V7]},
}
UNREADABLE_REST: dict[str, dict[str, Any]] = {
    "a subject that is a bare code": {"subject": "39901012239"},
    "a subject without a country": {"subject": "PNO-39901012239"},
    "a subject of a company": {"subject": "NTREE-12345678"},
    "a subject in lower case": {"subject": "pnoee-39901012239"},
    "an empty subject": {"subject": ""},
    "a subject that is too long": {"subject": f"PNOEE-{'1' * 65}"},
    "a subject with a blank": {"subject": "PNOEE-39901012239%20"},
    "a subject with a new line": {"subject": "PNOEE-39901012239%0A"},
    "one subject of two": {"subject": ["PNOEE-39901012239", "Mati"]},
    "a purpose with half an escape": {"purpose": "TAX_ASSESSMENT%"},
    "a purpose with no escape": {"purpose": "%ZZ"},
    "two purposes": {"purpose": ["TAX_ASSESSMENT", "STATISTICS"]},
    "a legal basis that is not UTF-8": {"legal_basis": "%C3%28"},
    "two legal bases": {"legal_basis": ["MKS-30", "MKS-30"]},
    "a case with a bell": {"case": "%07"},
    "two cases": {"case": ["1", "2"]},
    "somebody represented who is no member": {"represented": "EE"},
    "a trace context of version ff": {"traceparent": f"ff{TRACE[2:]}"},
    "a trace context of zeros": {"traceparent": f"00-{'0' * 32}{TRACE[35:]}"},
    "a parent of zeros": {"traceparent": f"{TRACE[:36]}{'0' * 16}-01"},
    "a trace context in upper case": {"traceparent": TRACE.upper()},
    "a trace context that is short": {"traceparent": TRACE[:-1]},
    "a trace context with more": {"traceparent": f"{TRACE}-more"},
}
ALL = UNREADABLE_NAMES | UNREADABLE_REST
READABLE: dict[str, dict[str, Any]] = {
    "all of it percent-encoded": {
        "purpose": "%54AX_ASSESSMENT",
        "service": PERSONS.replace("/", "%2f"),
        "case": "kohtuasi%20nr%2012%2C%20%C3%84%C3%A4",
    },
    "a trace context": {"traceparent": TRACE},
    "a trace context of a later version": {"traceparent": f"01{TRACE[2:]}-more"},
    "a subject twice": {"subject": ["PNOEE-39901012239"] * 2},
    "the member itself represented": {"represented": "EE-SANDBOX/GOV/70000349"},
    "a key of ours that there is not": {"colour": "blue"},
}


def metadata(instance: Instance, **changed: Any) -> Metadata:
    trace = changed.pop("traceparent", None)
    given = instance.example.metadata(**changed)
    return given if trace is None else (*given, ("traceparent", trace))


async def call(instance: Instance, tax: aio.Channel, **changed: Any) -> Outcome:
    example = instance.example
    given = metadata(instance, **changed)
    return await ask(tax, example.method, example.body, given)


@pytest.mark.parametrize("what", ALL)
async def test_metadata_that_cannot_be_read_is_refused(
    instance: Instance, tax: aio.Channel, what: str
) -> None:
    outcome = await call(instance, tax, **ALL[what])
    assert_refused(instance, outcome, REFUSED)
    (changed,) = ALL[what]
    key = "traceparent" if changed == "traceparent" else f"ristmik-{changed}"
    assert key.replace("_", "-") in outcome.fault.detail
    named = [key for key, _ in outcome.trailers if key == "ristmik-message-id"]
    assert bool(named) == (what in UNREADABLE_REST)


async def test_each_of_them_is_recorded_once_or_counted(
    instance: Instance, tax: aio.Channel
) -> None:
    # Refusals of the tests before are counted when their second is over.
    await settled(instance)
    before, there = (
        refusals(instance, "tax", REFUSED.code),
        instance.count("population"),
    )
    outcomes = await asyncio.gather(
        *(call(instance, tax, **changed) for changed in ALL.values())
    )
    assert {outcome.refusal[0] for outcome in outcomes} == {REFUSED.code}
    await_refusals(instance, "tax", REFUSED.code, before + len(ALL))
    assert instance.count("population") == there


async def settled(instance: Instance) -> None:
    """Wait until repeats that came after all others are counted."""
    first, second = new_message_id(), new_message_id()
    # Of a service of its own, so that nothing else is like it.
    like = {"service": PERSONS.replace("persons", f"s{first[-12:]}"), "case": "%07"}
    async with instance.local("tax") as channel:
        for message_id in (first, second):
            await call(instance, channel, **like, message_id=message_id)
    until(
        lambda: instance.entries("tax", second) or instance.entries("tax", first)[1:],
        "repeats are recorded once their second is over",
        within_s=10,
    )


@pytest.mark.parametrize("what", READABLE)
async def test_metadata_that_can_be_read_is_taken(
    instance: Instance, tax: aio.Channel, what: str
) -> None:
    outcome = await call(instance, tax, **READABLE[what])
    assert outcome.code is StatusCode.OK, outcome


async def test_key_of_another_name_is_no_client(
    instance: Instance, tax: aio.Channel
) -> None:
    example = instance.example
    given = (*example.metadata(client=None), ("ristmik-client-bin", b"\x01"))
    outcome = await ask(tax, example.method, example.body, given)
    assert_refused(instance, outcome, REFUSED)
