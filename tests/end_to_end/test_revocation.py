"""Certificates that are revoked: nothing goes on with them, what was signed stands."""

from collections.abc import AsyncIterator, Iterator

import pytest
from grpc import StatusCode, aio

from tests.end_to_end.calling import Outcome, ask
from tests.end_to_end.conftest import DESK, offer
from tests.end_to_end.desk import ASK, Desk, note, running_desk
from tests.end_to_end.instance import CODES, Instance, new_instance
from tests.end_to_end.waiting import eventually

# Servers ask every 2 s; the rest is for a busy machine.
WITHIN_S = 10.0
EXECUTION = {True: "EXECUTED", False: "NOT_EXECUTED"}


@pytest.fixture(scope="module")
def doomed() -> Iterator[Instance]:
    """Give an instance whose certificates are revoked one after another."""
    with new_instance() as running:
        yield running
        assert running.stop() == 0, running.said()


@pytest.fixture(scope="module")
def desk(doomed: Instance) -> Iterator[Desk]:
    with running_desk() as desk:
        offer(doomed, desk)
        yield desk


@pytest.fixture
async def tax(doomed: Instance) -> AsyncIterator[aio.Channel]:
    async with doomed.local("tax") as channel:
        yield channel


async def ask_persons(doomed: Instance, tax: aio.Channel) -> Outcome:
    example = doomed.example
    return await ask(tax, example.method, example.body, example.metadata())


async def ask_desk(doomed: Instance, tax: aio.Channel) -> Outcome:
    absent = dict.fromkeys(("subject", "purpose", "legal_basis"))
    metadata = doomed.example.metadata(**{"service": DESK, **absent})
    return await ask(tax, ASK, note("hello"), metadata)


def revoke(doomed: Instance, usage: str, holder: str) -> None:
    (serial,) = (
        each["serial"]
        for each in doomed.answer("certificate", "list")["certificates"]
        if (each["usage"], each["holder"]) == (usage, holder)
    )
    revoked = doomed.answer("certificate", "revoke", serial)["certificate"]
    assert revoked["revoked_at"]
    # For good: again changes nothing.
    assert doomed.answer("certificate", "revoke", serial)["certificate"] == revoked


def test_certificate_that_is_not_there_is_not_revoked(doomed: Instance) -> None:
    ran = doomed.ristmik("certificate", "revoke", "abcdef", "--json")
    assert (ran.status, ran.document["error"]["code"]) == (1, "CERTIFICATE_UNKNOWN")


async def test_servers_authentication_certificate(
    doomed: Instance, tax: aio.Channel
) -> None:
    assert (await ask_persons(doomed, tax)).code is StatusCode.OK
    revoke(doomed, "authentication", doomed.server("population").id)
    outcomes: list[Outcome] = []

    async def refused() -> bool:
        outcomes.append(await ask_persons(doomed, tax))
        return outcomes[-1].code is not StatusCode.OK

    await eventually(refused, "the revoked server is refused", within_s=WITHIN_S)
    assert outcomes[-1].code is StatusCode.PERMISSION_DENIED
    assert outcomes[-1].refusal[0] == "CERTIFICATE_REVOKED"
    again = await ask_persons(doomed, tax)
    assert again.refusal[:2] == ("CERTIFICATE_REVOKED", "NOT_EXECUTED")


async def test_signing_certificate_of_the_provider(
    doomed: Instance, tax: aio.Channel, desk: Desk
) -> None:
    assert (await ask_desk(doomed, tax)).code is StatusCode.OK
    revoke(doomed, "signing", doomed.server("health").member)
    outcomes: list[Outcome] = []

    async def refused() -> bool:
        outcomes.append(await ask_desk(doomed, tax))
        return outcomes[-1].code is not StatusCode.OK

    await eventually(refused, "the revoked provider is refused", within_s=WITHIN_S)
    assert outcomes[-1].refusal[0] == "CERTIFICATE_REVOKED"
    assert outcomes[-1].refusal[2] == doomed.server("health").id
    # It may have been learnt of while the desk was asked.
    called = bool(desk.asked_by(outcomes[-1].message_id))
    assert outcomes[-1].refusal[1] in {"UNKNOWN", EXECUTION[called]}
    again = await ask_desk(doomed, tax)
    assert again.refusal[:2] == ("CERTIFICATE_REVOKED", "NOT_EXECUTED")
    assert desk.asked_by(again.message_id) == []


async def test_signing_certificate_of_the_consumer(
    doomed: Instance, tax: aio.Channel
) -> None:
    revoke(doomed, "signing", doomed.server("tax").member)
    expected = ("CERTIFICATE_REVOKED", "NOT_EXECUTED", doomed.server("tax").id)
    outcomes: list[Outcome] = []

    async def refused() -> bool:
        outcomes.append(await ask_persons(doomed, tax))
        return outcomes[-1].refusal == expected

    await eventually(refused, "the own server refuses to sign", within_s=WITHIN_S)
    refusals = doomed.entries("tax", outcomes[-1].message_id)
    assert len(refusals) == 1


@pytest.mark.parametrize("code", CODES)
def test_what_was_signed_before_still_verifies(doomed: Instance, code: str) -> None:
    verified = doomed.verify(code)
    assert verified.status == 0
    assert verified.document["ok"] is True
