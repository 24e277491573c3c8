"""Fixtures of the tests in which a server of the instance meets a hostile peer."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.ledger_verification import verify_ledger
from cli.parts import Parts
from ledger.record import Kind
from messaging.verification import VerifiedAnswer
from messaging.wire.faults import code_number
from tests.end_to_end.hostile import Asked, Stream, Thief, refused
from tests.end_to_end.instance import Instance
from vocabulary.identifiers import SecurityServerId


@dataclass(frozen=True)
class Population:
    """The population register's server, whose ledger says what it has done."""

    thief: Thief

    @property
    def id(self) -> SecurityServerId:
        return self.thief.population.server

    def received(self, asked: Asked) -> int:
        message_id = asked.request.identities.message_id
        entries = self.thief.instance.entries("population", message_id)
        return [entry.kind for entry in entries].count(Kind.REQUEST_RECEIVED)

    def has_refused(self, answer: VerifiedAnswer, asked: Asked, code: str) -> None:
        """Assert who refused with what, that it stands recorded, and nothing else."""
        assert refused(answer) == (code, "NOT_EXECUTED", self.id)
        self.has_recorded(answer, code)
        assert self.received(asked) == 0

    def has_recorded(self, answer: VerifiedAnswer, code: str) -> None:
        """Repeats within a second are counted, and carry no row hash of their own."""
        said = answer.received.peer_row_hash
        if said is not None:
            entries = self.thief.instance.entries("population")
            (entry,) = (each for each in entries if each.row_hash == said)
            assert entry.fault_code == code_number(code)


@pytest.fixture(scope="session")
def ledgers_still_verify(instance: Instance) -> Iterator[None]:
    """Verify, once all is over, the ledgers of who met."""
    yield
    for code in ("tax", "population"):
        assert_verifies(instance, code)


def assert_verifies(instance: Instance, code: str) -> None:
    parts = Parts.parse(instance.document, directory=Path(instance.directory))
    id_ = SecurityServerId.parse(instance.server(code).id)
    verified = verify_ledger(parts, parts.server(id_))
    assert verified.ok, verified


@pytest.fixture
def thief(instance: Instance) -> Thief:
    return Thief(instance)


@pytest.fixture
async def stream(thief: Thief) -> AsyncIterator[Stream]:
    """Give a stream to the population register's server, as the tax board's."""
    async with thief.stream(thief.tax) as stream:
        yield stream


@pytest.fixture
def population(thief: Thief) -> Population:
    return Population(thief)
