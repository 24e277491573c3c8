"""Parts that the wrong hand has signed, or at the wrong time, or that came before."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from messaging.verification import VerifiedResponse
from tests.end_to_end.hostile import Stream, Thief, refused
from tests.end_to_end.siege import Population
from tests.pki import Pki
from vocabulary.clock import utc_now

pytestmark = pytest.mark.usefixtures("ledgers_still_verify")


# It is signed by somebody else.


async def test_another_member_does_not_speak_for_the_client(
    thief: Thief, stream: Stream, population: Population
) -> None:
    for keys in (thief.health, thief.population):
        asked = await thief.asked(credential=await thief.credential(keys))
        answer = await thief.answer(stream, asked)
        population.has_refused(answer, asked, "SIGNER_MISMATCH")


async def test_a_client_of_another_member_is_not_carried_by_this_server(
    thief: Thief, stream: Stream, population: Population
) -> None:
    client = replace(
        thief.request().identities.client,
        member=thief.health.server.owner,
        code="health",
    )
    credential = await thief.credential(thief.health)
    asked = await thief.asked(thief.request(client=client), credential=credential)
    answer = await thief.answer(stream, asked)
    population.has_refused(answer, asked, "NOT_REGISTERED")


async def test_a_signature_is_of_the_certificate_that_is_named(
    thief: Thief, stream: Stream, population: Population
) -> None:
    status = await thief.status(thief.health.signing)
    stolen = thief.credential_of(thief.tax.key, thief.health.signing, status)
    asked = await thief.asked(credential=stolen)
    answer = await thief.answer(stream, asked)
    population.has_refused(answer, asked, "SIGNATURE_INVALID")


async def test_an_authentication_certificate_signs_nothing(
    thief: Thief, stream: Stream, population: Population
) -> None:
    directory = thief.instance.directory / "security-server-tax"
    key = type(thief.tax.key).load(directory / "authentication.key")
    status = await thief.status(thief.tax.authentication)
    credential = thief.credential_of(key, thief.tax.authentication, status)
    asked = await thief.asked(credential=credential)
    answer = await thief.answer(stream, asked)
    population.has_refused(answer, asked, "CERTIFICATE_INVALID")


async def test_a_certificate_of_an_unapproved_authority_is_refused(
    thief: Thief, stream: Stream, population: Population
) -> None:
    """Also where that authority bears the approved one's very name."""
    pki = Pki(utc_now)
    assert pki.authority.x509.subject == thief.issuer.x509.subject
    key, signing = pki.signing(thief.tax.server.owner)
    response = pki.ocsp(signing.certificate)
    credential = thief.credential_of(key, signing.certificate, response)
    asked = await thief.asked(credential=credential)
    answer = await thief.answer(stream, asked)
    population.has_refused(answer, asked, "CERTIFICATE_INVALID")


# The certificate is not known to be good.


async def test_a_revoked_certificate_signs_nothing(
    thief: Thief, stream: Stream, population: Population
) -> None:
    member = thief.tax.server.owner
    key, certificate = thief.issue(member)
    thief.revoke(certificate)
    # The newest certificate of a member is one that it can use.
    thief.issue(member)
    status = await thief.status(certificate)
    credential = thief.credential_of(key, certificate, status)
    asked = await thief.asked(credential=credential)
    answer = await thief.answer(stream, asked)
    population.has_refused(answer, asked, "CERTIFICATE_REVOKED")
    # It was good two minutes ago, which is too long ago.
    old = thief.status_of(certificate, utc_now() - timedelta(minutes=2))
    asked = await thief.asked(credential=thief.credential_of(key, certificate, old))
    answer = await thief.answer(stream, asked)
    population.has_refused(answer, asked, "CERTIFICATE_STATUS_UNKNOWN")


def _forged(thief: Thief) -> bytes:
    return Pki(utc_now).ocsp(thief.tax.signing)


def _stale(thief: Thief) -> bytes:
    return thief.status_of(thief.tax.signing, utc_now() - timedelta(seconds=65))


def _of_tomorrow(thief: Thief) -> bytes:
    return thief.status_of(thief.tax.signing, utc_now() + timedelta(days=1))


def _of_another(thief: Thief) -> bytes:
    return thief.status_of(thief.health.signing, utc_now())


STATUSES: dict[str, Callable[[Thief], bytes]] = {
    "forged": _forged,
    "stale": _stale,
    "of tomorrow": _of_tomorrow,
    "of another certificate": _of_another,
    "no response at all": lambda thief: b"good",
}


@pytest.mark.parametrize("given", STATUSES)
async def test_a_status_is_taken_from_the_responder_only_and_while_it_is_fresh(
    thief: Thief, stream: Stream, population: Population, given: str
) -> None:
    credential = await thief.credential(thief.tax, response=STATUSES[given](thief))
    asked = await thief.asked(credential=credential)
    answer = await thief.answer(stream, asked)
    population.has_refused(answer, asked, "CERTIFICATE_STATUS_UNKNOWN")


async def test_an_unknown_reference_is_answered_so_and_the_part_taken_with_it(
    thief: Thief, stream: Stream, population: Population
) -> None:
    fresh = thief.status_of(thief.tax.signing, utc_now() - timedelta(seconds=3))
    credential = await thief.credential(thief.tax, response=fresh)
    asked = await thief.asked(credential=credential)
    answer = await thief.answer(
        stream, asked, lambda frame: frame.ClearField("evidence")
    )
    population.has_refused(answer, asked, "REFERENCE_UNKNOWN")
    assert isinstance(await thief.answer(stream, asked), VerifiedResponse)


# It was sent before, or at another time.


async def test_a_part_is_received_once(
    thief: Thief, stream: Stream, population: Population
) -> None:
    asked = await thief.asked()
    assert isinstance(await thief.answer(stream, asked), VerifiedResponse)
    again = await thief.answer(stream, asked)
    # The first may have been executed.
    assert refused(again) == ("REPLAYED", "UNKNOWN", population.id)
    population.has_recorded(again, "REPLAYED")
    # Signed anew, with other salts, it is the same message.
    anew = await thief.asked(asked.request)
    assert anew.message.part.imprint != asked.message.part.imprint
    assert refused(await thief.answer(stream, anew))[0] == "REPLAYED"
    assert population.received(asked) == 1


async def test_a_part_twice_in_one_batch_is_received_once(
    thief: Thief, stream: Stream, population: Population
) -> None:
    asked = await thief.asked()
    await stream.say(*(thief.frame(asked, exchange_id) for exchange_id in (1, 2, 3)))
    heard = await stream.answers(1, 2, 3)
    answers = [thief.verified(frame, asked) for frame in heard.values()]
    released = [each for each in answers if isinstance(each, VerifiedResponse)]
    replayed = [each for each in answers if not isinstance(each, VerifiedResponse)]
    assert len(released) == 1
    assert {refused(each) for each in replayed} == {
        ("REPLAYED", "UNKNOWN", population.id)
    }
    assert population.received(asked) == 1


@pytest.mark.parametrize(
    "age",
    [timedelta(minutes=6, seconds=5), timedelta(seconds=-65), timedelta(days=400)],
)
async def test_a_part_is_taken_about_when_it_was_issued(
    thief: Thief, stream: Stream, population: Population, age: timedelta
) -> None:
    asked = await thief.asked(issued_at=utc_now() - age)
    answer = await thief.answer(stream, asked)
    population.has_refused(answer, asked, "OUTSIDE_ACCEPTANCE_WINDOW")
