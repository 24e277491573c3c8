"""The tax board's client against the local leg of the bus, and alone."""

import json
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from grpc import StatusCode, aio

from examples.agencies.population import service as population
from examples.agencies.population.v1 import population_pb2, population_pb2_grpc
from examples.agencies.tax.client import Asking, NotAnswered, ask
from messaging.transport import ORIGIN_KEY, refusal
from tests.examples.agency import running
from vocabulary.faults import AccessDenied, Execution, Fault
from vocabulary.identifiers import SecurityServerId

MATI = "PNOEE-39901012239"
SERVER = SecurityServerId.parse("EE-SANDBOX/GOV/70000349/ss1")


class Bus(population_pb2_grpc.PersonRegistryServicer):
    """A security server's local leg: it sees metadata, and refuses or answers."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.seen: dict[str, str | bytes] = {}
        self._fault = fault

    async def GetPerson(self, request, context):  # noqa: N802 - from the .proto
        self.seen = dict(context.invocation_metadata())
        if self._fault:
            refused = refusal(self._fault, origin=SERVER)
            await context.abort(refused.status, refused.message, refused.trailers)
        return population_pb2.Person(id=request.person_id)


@asynccontextmanager
async def bus(servicer: population_pb2_grpc.PersonRegistryServicer):
    def add(server: aio.Server) -> None:
        population_pb2_grpc.add_PersonRegistryServicer_to_server(servicer, server)

    async with running(population.NAME, add) as address:
        yield address


async def test_the_client_says_who_asks_whom_why_and_about_whom():
    servicer = Bus()
    async with bus(servicer) as address:
        person = await ask(address, MATI, Asking(purpose="p", legal_basis="b"))
    assert person.id == MATI
    said = {key: value for key, value in servicer.seen.items() if "ristmik" in key}
    assert said == {
        "ristmik-client": "EE-SANDBOX/GOV/70000349/tax",
        "ristmik-service": "EE-SANDBOX/GOV/70008440/population/persons/v1",
        "ristmik-purpose": "p",
        "ristmik-legal-basis": "b",
        "ristmik-subject": MATI,
    }


@pytest.mark.parametrize("execution", list(Execution))
async def test_a_refusal_of_the_bus_says_by_whom_and_whether_it_ran(execution):
    fault = AccessDenied("tax may not call persons/v1: ask its owner for the right")
    fault.execution = execution
    async with bus(Bus(fault)) as address:
        with pytest.raises(NotAnswered) as caught:
            await ask(address, MATI, Asking())
    refused = caught.value
    assert refused.origin == str(SERVER)
    assert refused.status == StatusCode.PERMISSION_DENIED
    assert refused.message.startswith("ACCESS_DENIED: tax may not")
    assert refused.execution == execution


async def test_a_status_of_the_register_itself_is_told_apart():
    class Register(population_pb2_grpc.PersonRegistryServicer):
        async def GetPerson(self, request, context):  # noqa: N802 - a fake
            trailers = ((ORIGIN_KEY, "service"),)
            await context.abort(StatusCode.NOT_FOUND, "no such person", trailers)

    async with bus(Register()) as address:
        with pytest.raises(NotAnswered) as caught:
            await ask(address, MATI, Asking())
    assert (caught.value.origin, caught.value.execution) == ("service", "EXECUTED")


async def test_no_bus_at_all_is_no_answer():
    with pytest.raises(NotAnswered) as caught:
        await ask("127.0.0.1:1", MATI, Asking())
    assert (caught.value.origin, caught.value.execution) == ("no one", "UNKNOWN")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(  # noqa: S603 - our own program
        command, capture_output=True, text=True, check=False
    )


def test_the_systems_run_as_programs_and_stop_on_sigterm():
    system = subprocess.Popen(
        [sys.executable, "-m", "examples.agencies.population", "--listen=127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = system.stderr.readline()
        assert said.startswith("the population register listens on 127.0.0.1:")
        address = said.split()[-1]
        answered = run("examples.agencies.tax", "--bus", address, "--person", MATI)
        assert answered.returncode == 0
        assert json.loads(answered.stdout)["givenName"] == "Mati"
        refused = run("examples.agencies.tax", "--bus", address, "--person", "PNOEE-1")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "INVALID_ARGUMENT" in refused.stderr
        taken = run("examples.agencies.health", "--listen", address)
        assert taken.returncode == 1
        assert f"cannot listen on {address}" in taken.stderr
    finally:
        system.send_signal(signal.SIGTERM)
        _, rest = system.communicate(timeout=10)
    assert (system.returncode, rest) == (0, "")
