"""Calls that name what there is not, leave out what there must be, or have no right.

Each is refused with a fault of its own that says who refused it and that nothing was
called; both ledgers hold that, unless the caller was nobody the server knows.
"""

from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from grpc import StatusCode, aio

from protos.v1 import fault_pb2
from tests.end_to_end.calling import ask, new_message_id
from tests.end_to_end.desk import ASK
from tests.end_to_end.instance import CODES, Instance
from tests.end_to_end.refusals import (
    Refused,
    assert_recorded,
    assert_refused,
    request_about,
    someone,
)

GET_PERSON = "population.v1.PersonRegistry/GetPerson"
PERSONS = "EE-SANDBOX/GOV/70008440/population/persons/v1"
INSURANCE = "EE-SANDBOX/GOV/74000091/health/insurance/v1"

INVALID, NOT_FOUND = StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND
UNIMPLEMENTED, DENIED = StatusCode.UNIMPLEMENTED, StatusCode.PERMISSION_DENIED


@dataclass(frozen=True)
class Asked:
    """How a call differs from the example, and what it is refused with."""

    refused: Refused
    changed: dict[str, Any] = field(default_factory=dict)
    method: str = GET_PERSON
    body: bytes | None = None
    provider: str = "population"


def unknown_service(service: str, **details: Any) -> Asked:
    refused = Refused("SERVICE_UNKNOWN", NOT_FOUND, "population")
    return Asked(details.pop("refused", refused), {"service": service}, **details)


def missing(key: str) -> Asked:
    return Asked(Refused(f"{key.upper()}_MISSING", INVALID), {key: None})


def unlisted(key: str) -> Asked:
    return Asked(Refused(f"{key.upper()}_UNKNOWN", INVALID), {key: "NO-SUCH-CODE"})


NO_MEMBER = Refused("MEMBER_UNKNOWN", NOT_FOUND)
NO_METHOD = Refused("METHOD_UNKNOWN", UNIMPLEMENTED)
MISMATCH = Refused("SUBJECT_MISMATCH", INVALID, "population", sent=True)
UNREADABLE = Refused("MESSAGE_INVALID", INVALID, "population", sent=True)

CALLS = {
    "unknown member": Asked(
        NO_MEMBER, {"service": PERSONS.replace("70008440", "99999999")}
    ),
    "member of another instance": Asked(
        NO_MEMBER, {"service": PERSONS.replace("EE-SANDBOX", "EE")}
    ),
    "unknown subsystem": Asked(
        NO_MEMBER, {"service": PERSONS.replace("/population/", "/nobody/")}
    ),
    "unknown service": unknown_service(PERSONS.replace("persons", "pets")),
    "unknown version": unknown_service(PERSONS.replace("v1", "v9")),
    "service of another provider": unknown_service(
        PERSONS.replace("70008440/population", "74000091/health"),
        refused=Refused("SERVICE_UNKNOWN", NOT_FOUND, "health"),
        provider="health",
    ),
    "unknown method": Asked(NO_METHOD, method=GET_PERSON.replace("Get", "Put")),
    "method of another service": Asked(NO_METHOD, method=ASK),
    "method with another case": Asked(NO_METHOD, method=GET_PERSON.lower()),
    "health of the provider's system": Asked(
        NO_METHOD, method="grpc.health.v1.Health/Check"
    ),
    "no purpose": missing("purpose"),
    "no legal basis": missing("legal_basis"),
    "no subject": missing("subject"),
    "empty purpose": Asked(Refused("PURPOSE_MISSING", INVALID), {"purpose": ""}),
    "unknown purpose": unlisted("purpose"),
    "unknown legal basis": unlisted("legal_basis"),
    "purpose in lower case": Asked(
        Refused("PURPOSE_UNKNOWN", INVALID), {"purpose": "tax_assessment"}
    ),
    "another person than declared": Asked(MISMATCH, body=request_about(someone())),
    "more persons declared than asked about": Asked(
        MISMATCH, {"subject": (someone(), someone())}
    ),
    "nobody asked about": Asked(MISMATCH, body=b""),
    "garbage for a message": Asked(UNREADABLE, body=b"\xff\xff\xff\xff"),
    "person that is no identifier": Asked(UNREADABLE, body=request_about("Mati")),
    "no right": Asked(
        Refused("ACCESS_DENIED", DENIED, "health", sent=True),
        {"service": INSURANCE},
        method="health.v1.InsuranceRegistry/GetInsurance",
        provider="health",
    ),
}


@pytest.mark.parametrize("what", CALLS)
async def test_call_is_refused_by_name_and_recorded(
    instance: Instance, tax: aio.Channel, what: str
) -> None:
    asked, person = CALLS[what], someone()
    if isinstance(asked.changed.get("subject"), tuple):
        person = asked.changed["subject"][0]
    metadata = instance.example.metadata(**{"subject": person, **asked.changed})
    body = request_about(person) if asked.body is None else asked.body
    outcome = await ask(tax, asked.method, body, metadata)
    assert_refused(instance, outcome, asked.refused)
    assert_recorded(instance, outcome, asked.refused, provider=asked.provider)


async def test_mismatch_is_recorded_under_both_persons(
    instance: Instance, tax: aio.Channel
) -> None:
    declared, asked_about = someone(), someone()
    metadata = instance.example.metadata(subject=declared)
    outcome = await ask(tax, GET_PERSON, request_about(asked_about), metadata)
    assert outcome.refusal[0] == "SUBJECT_MISMATCH"
    for code in ("tax", "population"):
        fault = instance.entries(code, outcome.message_id)[-1]
        with psycopg.connect(instance.dsn(code)) as connection:
            row = connection.execute(
                "SELECT count(*) FROM ledger.subject_index WHERE seq = %s",
                (fault.seq,),
            ).fetchone()
        assert row == (2,)
    # Neither of them is named to the caller, or to whoever reads the log.
    assert declared not in outcome.details
    assert asked_about not in outcome.details


STRANGERS = {
    "a subsystem that is not registered": "EE-SANDBOX/GOV/70000349/nobody",
    "a member that is not registered": "EE-SANDBOX/GOV/99999999/tax",
    "a client of another server": "EE-SANDBOX/GOV/74000091/health",
    "a client of another instance": "EE/GOV/70000349/tax",
    "the same in another case": "EE-SANDBOX/GOV/70000349/TAX",
}
UNREADABLE_CLIENTS = {
    "no client": None,
    "an empty client": "",
    "two clients": ["EE-SANDBOX/GOV/70000349/tax"] * 2,
    "a member for a client": "EE-SANDBOX/GOV/70000349",
    "a client with a blank": "EE-SANDBOX/GOV/70000349/tax office",
    "a client with half an escape": "EE-SANDBOX/GOV/70000349/tax%2",
    "a client with a zero octet": "EE-SANDBOX/GOV/70000349/tax%00",
}


@pytest.mark.parametrize("who", [*STRANGERS, *UNREADABLE_CLIENTS])
async def test_stranger_is_refused_and_not_recorded(
    instance: Instance, tax: aio.Channel, who: str
) -> None:
    refused = Refused("CLIENT_UNKNOWN", StatusCode.UNAUTHENTICATED)
    client: Any = STRANGERS.get(who)
    if client is None:
        refused, client = Refused("METADATA_INVALID", INVALID), UNREADABLE_CLIENTS[who]
    chosen = new_message_id()
    metadata = instance.example.metadata(client=client, message_id=chosen)
    outcome = await ask(tax, GET_PERSON, request_about(someone()), metadata)
    assert_refused(instance, outcome, refused)
    number = fault_pb2.FAULT_CODE_CLIENT_UNKNOWN
    for code in CODES:
        assert instance.entries(code, chosen) == []
        entries = instance.entries(code)
        assert not [entry for entry in entries if entry.fault_code == number]


async def test_reflection_of_a_service_is_not_for_strangers(
    instance: Instance, tax: aio.Channel
) -> None:
    method = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    metadata = instance.example.metadata(client="EE-SANDBOX/GOV/70000349/nobody")
    outcome = await ask(tax, method, b"", metadata)
    assert outcome.refusal[0] == "CLIENT_UNKNOWN"


@pytest.mark.parametrize("code", CODES)
def test_ledgers_that_hold_refusals_verify(instance: Instance, code: str) -> None:
    verified = instance.verify(code)
    assert (verified.status, verified.document["ok"]) == (0, True)
