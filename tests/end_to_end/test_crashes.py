"""Either security server killed between any two steps of the walk, and PostgreSQL.

What a caller is told is true, what it was told is done is in both ledgers, nothing is
received twice, the ledgers verify, and calls go through again once all is back.
"""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from grpc import StatusCode

from ledger.record import Kind
from messaging.verification import VerifiedResponse
from security_server.call_metadata import new_message_id
from tests.end_to_end.calling import Outcome
from tests.end_to_end.conftest import offer
from tests.end_to_end.crashing import SERVICE, Battlefield
from tests.end_to_end.desk import ASK, NAME, WAIT, Desk, note, running_desk
from tests.end_to_end.hostile import Thief, refused
from tests.end_to_end.instance import Instance, new_instance
from tests.end_to_end.siege import assert_verifies
from tests.end_to_end.waiting import eventually

SENT, RECEIVED = Kind.REQUEST_SENT, Kind.REQUEST_RECEIVED
ANSWERED, ANSWER_RECEIVED = Kind.RESPONSE_SENT, Kind.RESPONSE_RECEIVED
FAILED = Kind.RESPONSE_FAILED
CODES = ("tax", "population")
SEED = 20_261
CALLERS = 16


class Gate(Desk):
    """A desk whose `Wait` answers each note once that one is let go."""

    def __init__(self) -> None:
        super().__init__()
        self._gates: dict[bytes, threading.Event] = {}

    def gate(self, text: str) -> threading.Event:
        return self._gates.setdefault(note(text), threading.Event())

    def open_all(self) -> None:
        for gate in self._gates.values():
            gate.set()

    def _wait(self, body: bytes, context: object) -> bytes:
        self._gates.setdefault(body, threading.Event()).wait(60)
        return body


@pytest.fixture(scope="module")
def instance_at_risk() -> Iterator[Instance]:
    with new_instance("--keep-going") as instance:
        yield instance
        for code in CODES:
            assert_verifies(instance, code)


@pytest.fixture(scope="module")
def gate(instance_at_risk: Instance) -> Iterator[Gate]:
    gate = Gate()
    with running_desk(desk=gate):
        offer(instance_at_risk, gate, SERVICE)
        yield gate
        gate.open_all()


@pytest.fixture
async def field(instance_at_risk: Instance, gate: Gate) -> AsyncIterator[Battlefield]:
    """Give a field on which all is well; it must be so again afterwards."""
    field = Battlefield(instance_at_risk, gate)
    await field.revive()
    # Refused by name, before which the service is described anew: so no test has its
    # description recorded on the way. Once a test: repeats of it would be counted in an
    # entry that comes a second later, in the middle of something else.
    await field.call(f"{NAME}/Nothing", new_message_id())
    await all_is_well(field)
    yield field
    await field.revive()
    await all_is_well(field)
    for code in CODES:
        assert_verifies(instance_at_risk, code)


async def all_is_well(field: Battlefield) -> None:
    """Have a call go through."""

    async def goes_through() -> bool:
        outcome = await field.call(ASK, new_message_id())
        return outcome.code is StatusCode.OK

    await eventually(goes_through, "calls go through")


class Call:
    """One call under way, known by its message id."""

    def __init__(self, field: Battlefield, method: str = WAIT) -> None:
        self.field, self.method, self.id = field, method, new_message_id()
        self.outcome = asyncio.create_task(self._ask())

    async def _ask(self) -> Outcome:
        return await self.field.call(self.method, self.id, self.id)

    async def again(self) -> Outcome:
        """Ask with the same message id."""
        self.let_go()
        return await self._ask()

    async def is_asked(self) -> None:
        async def asked() -> bool:
            return self.times_asked == 1

        await eventually(asked, "the desk is asked")

    async def is_sent(self) -> None:
        async def sent() -> bool:
            return self.tax == [SENT]

        await eventually(sent, "the request is recorded as sent")

    async def is_answered(self) -> bool:
        return self.population == [RECEIVED, ANSWERED]

    def let_go(self) -> None:
        assert isinstance(self.field.desk, Gate)
        self.field.desk.gate(self.id).set()

    @property
    def times_asked(self) -> int:
        return self.field.times_asked(self.id)

    @property
    def tax(self) -> list[Kind]:
        return self.field.kinds("tax", self.id)

    @property
    def population(self) -> list[Kind]:
        return self.field.kinds("population", self.id)


def is_unknown(field: Battlefield, outcome: Outcome) -> bool:
    """Whether the caller's own server said that the outcome cannot be known."""
    server = field.instance.server("tax").id
    return outcome.refusal == ("PEER_UNREACHABLE", "UNKNOWN", server)


def is_lost(outcome: Outcome) -> bool:
    """Whether nobody on the bus said anything: the caller's own server is gone."""
    return outcome.code is StatusCode.UNAVAILABLE and not outcome.faults


def is_replay(field: Battlefield, outcome: Outcome) -> bool:
    server = field.instance.server("population").id
    return outcome.refusal == ("REPLAYED", "UNKNOWN", server)


# Before a record.


async def test_the_providers_server_dies_before_it_records(field: Battlefield) -> None:
    """Of three calls: one's request, one's answer, and one that is being answered."""
    thief = Thief(field.instance)
    earlier = await thief.asked()
    async with thief.stream(thief.tax) as stream:
        assert isinstance(await thief.answer(stream, earlier), VerifiedResponse)
    called, answered = Call(field), Call(field)
    await called.is_asked()
    await answered.is_asked()
    with field.no_entries("population"):
        answered.let_go()
        await field.until_it_wants_to_write("population")
        arriving = Call(field, ASK)
        await arriving.is_sent()
        field.kill_with_its_connection("population")
    for call in (called, answered, arriving):
        assert is_unknown(field, await call.outcome)
        assert call.tax == [SENT, FAILED]
    await field.start("population")
    for call in (called, answered):
        assert (call.population, call.times_asked) == ([RECEIVED], 1)
        assert is_replay(field, await call.again())
        assert call.times_asked == 1
    assert (arriving.population, arriving.times_asked) == ([], 0)
    assert (await arriving.again()).code is StatusCode.OK
    # The very octets that it had answered before it died.
    async with thief.stream(thief.tax) as stream:
        assert refused(await thief.answer(stream, earlier))[0] == "REPLAYED"


async def test_the_consumers_server_dies_before_it_records(field: Battlefield) -> None:
    """Of three calls: one's request, one's answer, and one that is being answered."""
    called, answered = Call(field), Call(field)
    await called.is_asked()
    await answered.is_asked()
    with field.no_entries("tax"):
        answered.let_go()
        await field.until_it_wants_to_write("tax")
        leaving = Call(field, ASK)
        field.kill_with_its_connection("tax")
    for call in (called, answered, leaving):
        assert is_lost(await call.outcome)
    await field.start("tax")
    called.let_go()
    for call in (called, answered):
        # The other side goes on to its end, though nobody hears of it.
        await eventually(call.is_answered, "the answer is recorded as sent")
        assert (call.tax, call.times_asked) == ([SENT], 1)
        assert is_replay(field, await call.again())
        assert call.times_asked == 1
    assert (leaving.tax, leaving.population, leaving.times_asked) == ([], [], 0)
    assert (await leaving.again()).code is StatusCode.OK


# After a record, before the step that it allows.


async def test_the_providers_server_dies_after_it_received(field: Battlefield) -> None:
    async with field.dies_after_record("population"):
        call = Call(field, ASK)
    assert is_unknown(field, await call.outcome)
    await field.start("population")
    assert (call.tax, call.population) == ([SENT, FAILED], [RECEIVED])
    assert is_replay(field, await call.again())
    assert call.times_asked == 0


async def test_the_providers_server_dies_after_it_answered(field: Battlefield) -> None:
    call = Call(field)
    await call.is_asked()
    async with field.dies_after_record("population"):
        call.let_go()
    assert is_unknown(field, await call.outcome)
    await field.start("population")
    assert (call.tax, call.population) == ([SENT, FAILED], [RECEIVED, ANSWERED])
    assert is_replay(field, await call.again())
    assert call.times_asked == 1


async def test_the_consumers_server_dies_after_it_recorded(field: Battlefield) -> None:
    async with field.dies_after_record("tax"):
        call = Call(field, ASK)
    assert is_lost(await call.outcome)
    await field.start("tax")
    assert (call.tax, call.population, call.times_asked) == ([SENT], [], 0)
    # It was recorded as sent and never was: its provider has not had it.
    assert (await call.again()).code is StatusCode.OK
    assert call.times_asked == 1


async def test_the_consumers_server_dies_before_it_releases(field: Battlefield) -> None:
    call = Call(field)
    await call.is_asked()
    async with field.dies_after_record("tax"):
        call.let_go()
    assert is_lost(await call.outcome)
    await field.start("tax")
    assert call.tax == [SENT, ANSWER_RECEIVED]
    assert call.population == [RECEIVED, ANSWERED]
    assert is_replay(field, await call.again())
    assert call.times_asked == 1


# At any moment.


class Burst:
    """Callers that call until they are told to stop, or one call of theirs fails."""

    def __init__(self, field: Battlefield) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._field = field
        self._over = False
        self._callers = [asyncio.create_task(self._calls()) for _ in range(CALLERS)]

    async def _calls(self) -> None:
        while not self._over:
            message_id = new_message_id()
            outcome = await self._field.call(ASK, message_id)
            self.outcomes[message_id] = outcome
            if outcome.code is not StatusCode.OK:
                return

    async def has_answered(self, number: int) -> None:
        async def answered() -> bool:
            return len(self.outcomes) >= number

        await eventually(answered, f"{number} calls are answered")

    async def end(self) -> dict[str, Outcome]:
        """Wait until the death is felt, and give all outcomes."""

        async def is_felt() -> bool:
            return any(caller.done() for caller in self._callers)

        await eventually(is_felt, "a call fails")
        self._over = True
        await asyncio.gather(*self._callers)
        return self.outcomes


async def test_no_moment_of_dying_loses_what_was_told(field: Battlefield) -> None:
    chance = random.Random(SEED)  # noqa: S311 - no secret: the same moments each time
    outcomes: dict[str, Outcome] = {}
    for victims in (*(CODES[:1], CODES[1:]) * 2, CODES):
        burst = Burst(field)
        await burst.has_answered(chance.randrange(CALLERS, 8 * CALLERS))
        for code in victims:
            field.kill(code)
        outcomes |= await burst.end()
        await field.start(*victims)
        await all_is_well(field)
    field.assert_nothing_was_lost(outcomes)


@pytest.mark.parametrize("code", CODES)
async def test_postgresql_dies_and_all_goes_on_by_itself(
    field: Battlefield, code: str
) -> None:
    burst = Burst(field)
    await burst.has_answered(2 * CALLERS)
    field.kill_postgres_connection(code)
    outcomes = await burst.end()
    await all_is_well(field)
    field.assert_nothing_was_lost(outcomes)
