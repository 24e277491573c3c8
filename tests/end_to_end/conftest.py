"""One instance for all tests that leave it whole; the others start their own.

With several workers, each that needs it has one.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
from grpc import aio

from cli.sandbox.processes import command_line
from tests.end_to_end.desk import Desk, running_desk
from tests.end_to_end.instance import Instance, is_running, new_instance
from tests.end_to_end.siege import ledgers_still_verify, population, stream, thief

# Fixtures of its modules that are defined elsewhere.
__all__ = ["ledgers_still_verify", "population", "stream", "thief"]

# Offered by the health fund, and the tax board may call it; it is not personal.
DESK = "EE-SANDBOX/GOV/74000091/health/desk/v1"


@pytest.fixture(scope="session")
def instance() -> Iterator[Instance]:
    """Give a running instance that a test must not break; it ends well."""
    with new_instance() as running:
        pids = [*running.pids().values(), running.postgres_pid()]
        yield running
        assert running.stop() == 0, running.said()
        left = {pid: command_line(pid) for pid in pids if is_running(pid)}
        assert not left, left


@pytest.fixture(scope="session")
def desk(instance: Instance) -> Iterator[Desk]:
    """Give the tests' own system, registered as DESK and open to the tax board."""
    with running_desk() as desk:
        offer(instance, desk)
        yield desk


@pytest.fixture(scope="module")
def fragile() -> Iterator[Instance]:
    """Give an instance of which a module may break what it mends again."""
    with new_instance("--keep-going") as running:
        yield running
        # What has ended by itself meanwhile makes the difference.
        assert running.stop() in {0, 1}, running.said()


@pytest.fixture
async def tax(instance: Instance) -> AsyncIterator[aio.Channel]:
    """Give a channel to the local leg of the tax board's server."""
    async with instance.local("tax") as channel:
        yield channel


def offer(instance: Instance, desk: Desk, service: str = DESK) -> None:
    """Register the desk and let the example's client call it."""
    instance.answer("service", "add", service, "--address", desk.address)
    instance.answer("access", "grant", service, instance.example.keys["client"])
