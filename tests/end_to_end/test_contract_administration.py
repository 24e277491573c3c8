"""What an administrator changes by `ristmik`, and how soon callers see it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio

from tests.end_to_end.calling import Metadata, Outcome, ask
from tests.end_to_end.desk import ASK, DESCRIPTORS, WAIT, Desk, note
from tests.end_to_end.instance import Instance
from tests.end_to_end.waiting import eventually

# The contract: a change is effective within this time.
EFFECTIVE_S = 2.0
SERVICE = "EE-SANDBOX/GOV/74000091/health/notes/v1"
PERSONAL = "EE-SANDBOX/GOV/74000091/health/files/v1"
TAX = "EE-SANDBOX/GOV/70000349/tax"
ABSENT = dict.fromkeys(("subject", "purpose", "legal_basis"))


@pytest.fixture
def notes(instance: Instance, desk: Desk) -> Iterator[str]:
    """Register a third system, to which nobody has a right yet."""
    instance.answer("service", "add", SERVICE, "--address", desk.address)
    yield SERVICE
    instance.answer("service", "remove", SERVICE)


async def becomes(
    channel: aio.Channel, method: str, metadata: Metadata, expected: StatusCode
) -> Outcome:
    """Call until it ends as expected, which must be soon."""
    outcomes: list[Outcome] = []

    async def ends_so() -> bool:
        outcomes.append(await ask(channel, method, note("hello"), metadata))
        return outcomes[-1].code is expected

    await eventually(ends_so, f"{method} is {expected}", within_s=EFFECTIVE_S)
    return outcomes[-1]


async def test_service_and_right_are_effective_at_once(
    instance: Instance, tax: aio.Channel, desk: Desk, notes: str
) -> None:
    metadata = instance.example.metadata(**{"service": notes, **ABSENT})
    denied = await ask(tax, ASK, note("hello"), metadata)
    assert denied.refusal == (
        *("ACCESS_DENIED", "NOT_EXECUTED"),
        instance.server("health").id,
    )

    granted = instance.answer("access", "grant", notes, TAX)["granted"]
    assert granted == {
        "service": notes,
        "client": TAX,
        "method": None,
        "server": instance.server("health").id,
    }
    outcome = await becomes(tax, ASK, metadata, StatusCode.OK)
    assert outcome.body == note("hello")
    assert len(desk.asked_by(outcome.message_id)) == 1
    assert granted in instance.answer("access", "list")["rights"]

    assert instance.answer("access", "revoke", notes, TAX)["revoked"] == granted
    denied = await becomes(tax, ASK, metadata, StatusCode.PERMISSION_DENIED)
    assert denied.refusal[0] == "ACCESS_DENIED"
    assert desk.asked_by(denied.message_id) == []
    assert granted not in instance.answer("access", "list")["rights"]
    again = instance.ristmik("access", "revoke", notes, TAX, "--json")
    assert (again.status, again.document["error"]["code"]) == (1, "RIGHT_UNKNOWN")


async def test_right_to_one_method_reaches_no_other(
    instance: Instance, tax: aio.Channel, desk: Desk, notes: str
) -> None:
    metadata = instance.example.metadata(**{"service": notes, **ABSENT})
    granted = instance.answer("access", "grant", notes, TAX, "--method", "Ask")
    assert granted["granted"]["method"] == ASK
    await becomes(tax, ASK, metadata, StatusCode.OK)
    denied = await ask(tax, WAIT, note("hello"), metadata)
    assert denied.refusal[:2] == ("ACCESS_DENIED", "NOT_EXECUTED")
    assert desk.asked_by(denied.message_id) == []


async def test_service_that_is_removed_is_unknown(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    service = SERVICE.replace("notes", "passing")
    metadata = instance.example.metadata(**{"service": service, **ABSENT})
    unknown = await ask(tax, ASK, note("hello"), metadata)
    assert unknown.refusal[:2] == ("SERVICE_UNKNOWN", "NOT_EXECUTED")
    instance.answer("service", "add", service, "--address", desk.address)
    instance.answer("access", "grant", service, TAX)
    await becomes(tax, ASK, metadata, StatusCode.OK)
    listed = instance.answer("service", "list")["services"]
    assert service in {each["id"] for each in listed}
    instance.answer("service", "remove", service)
    unknown = await becomes(tax, ASK, metadata, StatusCode.NOT_FOUND)
    assert unknown.refusal[0] == "SERVICE_UNKNOWN"


async def test_personal_service_from_a_descriptor_file(
    instance: Instance, tax: aio.Channel, desk: Desk, tmp_path: Path
) -> None:
    file = tmp_path / "desk.binpb"
    file.write_bytes(DESCRIPTORS)
    add = ["service", "add", PERSONAL, "--address", desk.address, "--personal"]
    add += ["--descriptors", str(file)]
    ran = instance.ristmik(*add, "--json")
    assert (ran.status, ran.document["error"]["code"]) == (1, "REGISTRATION_INVALID")
    fields = ["--request-subject", "Note.person_id"]
    fields += ["--response-subject", "Note.person_id"]
    added = instance.answer(*add, *fields)["service"]
    assert added["personal"]
    assert ASK in added["methods"]
    instance.answer("access", "grant", PERSONAL, TAX)
    example = instance.example
    body = note("hello", example.keys["subject"])
    missing = await ask(
        tax, ASK, body, example.metadata(service=PERSONAL, purpose=None)
    )
    assert missing.refusal[:2] == ("PURPOSE_MISSING", "NOT_EXECUTED")
    other = await ask(tax, ASK, note("hello"), example.metadata(service=PERSONAL))
    assert other.refusal[:2] == ("SUBJECT_MISMATCH", "NOT_EXECUTED")
    assert desk.asked_by(missing.message_id) == desk.asked_by(other.message_id) == []
    outcome = await ask(tax, ASK, body, example.metadata(service=PERSONAL))
    assert (outcome.code, outcome.body) == (StatusCode.OK, body)
    (asked,) = desk.asked_by(outcome.message_id)
    assert ("ristmik-subject", example.keys["subject"]) in asked.metadata


def test_registration_is_asked_for_and_then_decided(instance: Instance) -> None:
    member = "EE-SANDBOX/GOV/70003158"
    asked = instance.answer("member", "register", member, "--name", "Maa-amet")
    number = str(asked["request"]["number"])
    assert asked["request"]["state"] == "waiting"
    waiting = instance.answer("requests", "list")["requests"]
    assert asked["request"] in waiting
    assert member not in members(instance)

    approved = instance.answer("requests", "approve", number)
    assert approved["request"]["state"] == "approved"
    assert approved["configuration_version"] > 0
    assert members(instance)[member]["name"] == "Maa-amet"
    again = instance.ristmik("requests", "approve", number, "--json")
    assert (again.status, again.document["error"]["code"]) == (1, "REQUEST_UNKNOWN")

    twice = instance.ristmik("member", "register", member, "--name", "M", "--json")
    assert (twice.status, twice.document["error"]["code"]) == (1, "ALREADY_REGISTERED")


def test_registration_that_is_rejected_is_none(instance: Instance) -> None:
    member = "EE-SANDBOX/COM/10000001"
    asked = instance.answer("member", "register", member, "--name", "Näidis OÜ")
    number = str(asked["request"]["number"])
    rejected = instance.answer("requests", "reject", number, "--reason", "not public")
    assert rejected["request"]["state"] == "rejected"
    assert rejected["request"]["reason"] == "not public"
    assert member not in members(instance)


async def test_new_subsystem_offers_and_calls(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    subsystem = f"{instance.server('tax').member}/archive"
    service = f"{subsystem}/notes/v1"
    register = ("subsystem", "register", subsystem)
    asked = instance.answer(*register, "--server", instance.server("tax").id)
    metadata = instance.example.metadata(**{"service": service, **ABSENT})
    unknown = await ask(tax, ASK, note("hello"), metadata)
    assert unknown.refusal[:2] == ("MEMBER_UNKNOWN", "NOT_EXECUTED")
    instance.answer("requests", "approve", str(asked["request"]["number"]))
    listed = instance.answer("subsystem", "list")["subsystems"]
    assert {"id": subsystem, "servers": [instance.server("tax").id]} in listed

    await eventually(
        lambda: knows(tax, metadata), "the servers have the configuration", within_s=10
    )
    instance.answer("service", "add", service, "--address", desk.address)
    instance.answer("access", "grant", service, subsystem)
    instance.answer("client", "set", subsystem, "--plaintext")
    listed = instance.answer("client", "list")["clients"]
    here = {"id": subsystem, "server": instance.server("tax").id}
    assert here | {"plaintext_loopback": True} in listed
    metadata = instance.example.metadata(
        **{"client": subsystem, "service": service, **ABSENT}
    )
    # Consumer and provider are one server here.
    outcome = await becomes(tax, ASK, metadata, StatusCode.OK)
    assert len(instance.entries("tax", outcome.message_id)) == 4


async def knows(channel: aio.Channel, metadata: Metadata) -> bool:
    outcome = await ask(channel, ASK, note("hello"), metadata)
    return outcome.refusal[0] == "SERVICE_UNKNOWN"


def members(instance: Instance) -> dict[str, Any]:
    listed = instance.answer("member", "list")["members"]
    return {member["id"]: member for member in listed}
