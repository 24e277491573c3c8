"""What is down when a call comes: each fails by its own name, and mends by itself."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
from grpc import StatusCode, aio

from ledger.record import Kind
from protos.v1 import fault_pb2
from tests.end_to_end.calling import Outcome, ask, new_message_id
from tests.end_to_end.desk import DESCRIPTORS, WAIT, note
from tests.end_to_end.instance import Instance, is_running
from tests.end_to_end.refusals import Refused, assert_refused
from tests.end_to_end.waiting import eventually, until
from tests.security_server.systems import SILENT_COMMAND

UNAVAILABLE = StatusCode.UNAVAILABLE
SILENT = "EE-SANDBOX/GOV/74000091/health/silent/v1"
NO_LEDGER = Refused("LEDGER_UNAVAILABLE", UNAVAILABLE)


@pytest.fixture
async def tax(fragile: Instance) -> AsyncIterator[aio.Channel]:
    async with fragile.local("tax") as channel:
        yield channel


async def call(
    fragile: Instance, tax: aio.Channel, timeout_s: float = 30, **changed: str
) -> Outcome:
    example = fragile.example
    metadata = example.metadata(**changed)
    return await ask(tax, example.method, example.body, metadata, timeout_s=timeout_s)


async def recovers(fragile: Instance, tax: aio.Channel) -> None:
    """Wait until calls are answered again, with nothing started anew."""

    async def answered() -> bool:
        return (await call(fragile, tax)).code is StatusCode.OK

    await eventually(answered, "calls are answered again")


async def test_postgresql_that_does_not_answer(
    fragile: Instance, tax: aio.Channel
) -> None:
    assert (await call(fragile, tax)).code is StatusCode.OK
    counts = {code: fragile.count(code) for code in ("tax", "population")}
    pids = fragile.pids()
    with fragile.frozen_postgres():
        # While the ledger is silent, the caller is told before its time is over.
        outcome = await call(fragile, tax, timeout_s=3)
        assert outcome.refusal[0] == "DEADLINE_EXCEEDED"
        assert outcome.refusal[1] in {"NOT_EXECUTED", "UNKNOWN"}
        outcome = await call(fragile, tax)
        assert_refused(fragile, outcome, NO_LEDGER)
    await recovers(fragile, tax)
    assert fragile.pids() == pids
    for code, before in counts.items():
        assert fragile.count(code) >= before + 2
        assert fragile.verify(code).status == 0


async def test_postgresql_that_is_stopped(fragile: Instance, tax: aio.Channel) -> None:
    chosen = new_message_id()
    with fragile.without_postgres():
        outcome = await call(fragile, tax, message_id=chosen)
        assert_refused(fragile, outcome, NO_LEDGER)
        ran = fragile.call()
        assert (ran.status, ran.document["fault"]["code"]) == (1, "LEDGER_UNAVAILABLE")
        server = ("--server", fragile.server("tax").id, "--json")
        ran = fragile.ristmik("ledger", "verify", *server)
        assert (ran.status, ran.document["error"]["code"]) == (3, "LEDGER_UNAVAILABLE")
        ran = fragile.ristmik("doctor", "--json")
        assert (ran.status, ran.document["ok"]) == (1, False)
    await recovers(fragile, tax)
    # It was told NOT_EXECUTED, so it may be sent again.
    outcome = await call(fragile, tax, message_id=chosen)
    assert outcome.code is StatusCode.OK
    assert fragile.verify("population").status == 0


async def test_system_of_the_provider_that_is_down(
    fragile: Instance, tax: aio.Channel
) -> None:
    fragile.end("population-system")
    outcome = await call(fragile, tax)
    refused = Refused("SYSTEM_UNREACHABLE", UNAVAILABLE, "population")
    assert_refused(fragile, outcome, refused)
    for code, kind in {
        "tax": Kind.REQUEST_SENT,
        "population": Kind.REQUEST_RECEIVED,
    }.items():
        first, second = fragile.entries(code, outcome.message_id)
        assert first.kind == kind
        assert second.kind == Kind.RESPONSE_FAILED
        assert second.fault_code == fault_pb2.FAULT_CODE_SYSTEM_UNREACHABLE
        assert second.execution == fault_pb2.EXECUTION_NOT_EXECUTED
    fragile.start("population-system")
    await recovers(fragile, tax)


@pytest.fixture
def silent() -> Iterator["subprocess.Popen[str]"]:
    """Give a system that prints its port, then "called" when it is, and no more."""
    with subprocess.Popen(  # noqa: S603 - this test's own program
        SILENT_COMMAND, stdout=subprocess.PIPE, text=True
    ) as system:
        yield system
        system.kill()


async def test_system_of_the_provider_that_is_killed_during_a_call(
    fragile: Instance, tax: aio.Channel, silent: "subprocess.Popen[str]"
) -> None:
    file = fragile.directory / "desk.binpb"
    file.write_bytes(DESCRIPTORS)
    assert silent.stdout is not None
    address = f"127.0.0.1:{silent.stdout.readline().strip()}"
    add = ("service", "add", SILENT, "--descriptors", str(file))
    fragile.answer(*add, "--address", address)
    fragile.answer("access", "grant", SILENT, fragile.example.keys["client"])
    absent = dict.fromkeys(("subject", "purpose", "legal_basis"))
    metadata = fragile.example.metadata(**{"service": SILENT, **absent})
    waiting = asyncio.create_task(ask(tax, WAIT, note("wait"), metadata))
    assert await asyncio.to_thread(silent.stdout.readline) == "called\n"
    silent.kill()
    outcome = await waiting
    refused = ("SYSTEM_UNREACHABLE", UNAVAILABLE, "health", "UNKNOWN")
    assert_refused(fragile, outcome, Refused(*refused))
    for code in ("tax", "health"):
        ending = fragile.entries(code, outcome.message_id)[-1]
        assert ending.kind == Kind.RESPONSE_FAILED
        assert ending.execution == fault_pb2.EXECUTION_UNKNOWN
    fragile.answer("service", "remove", SILENT)


async def test_server_of_the_provider_that_is_down(
    fragile: Instance, tax: aio.Channel
) -> None:
    chosen = new_message_id()
    assert (await call(fragile, tax, message_id=chosen)).code is StatusCode.OK
    fragile.end("security-server-population")
    outcome = await call(fragile, tax)
    assert_refused(fragile, outcome, Refused("PEER_UNREACHABLE", UNAVAILABLE))
    kinds = [Kind(entry.kind) for entry in fragile.entries("tax", outcome.message_id)]
    assert kinds == [Kind.REQUEST_SENT, Kind.RESPONSE_FAILED]
    ran = fragile.ristmik("service", "list", "--json")
    assert (ran.status, ran.document["error"]["code"]) == (3, "UNREACHABLE")

    fragile.start("security-server-population")
    await recovers(fragile, tax)
    # What came before it was stopped is known to it still.
    outcome = await call(fragile, tax, message_id=chosen)
    replayed = ("REPLAYED", StatusCode.ALREADY_EXISTS, "population", "UNKNOWN")
    assert_refused(fragile, outcome, Refused(*replayed))


async def test_own_server_that_is_down(fragile: Instance, tax: aio.Channel) -> None:
    fragile.end("security-server-tax")
    ran = fragile.call()
    assert (ran.status, ran.document["error"]["code"]) == (3, "UNREACHABLE")
    fragile.start("security-server-tax")
    await recovers(fragile, tax)


async def test_authorities_that_are_down(fragile: Instance, tax: aio.Channel) -> None:
    for name, command in {
        "central-registry": ("member", "list"),
        "trust-services": ("certificate", "list"),
    }.items():
        fragile.end(name)
        assert (await call(fragile, tax)).code is StatusCode.OK
        ran = fragile.ristmik(*command, "--json")
        assert (ran.status, ran.document["error"]["code"]) == (3, "UNREACHABLE")
    # A server that is started meanwhile goes on from what it has kept on disk.
    fragile.end("security-server-population", signal.SIGKILL)
    fragile.start("security-server-population")
    await recovers(fragile, tax)
    fragile.start("central-registry")
    fragile.start("trust-services")
    until(lambda: fragile.ristmik("certificate", "list").status == 0, "the CA answers")


async def test_status_of_certificates_that_is_stale(
    fragile: Instance, tax: aio.Channel
) -> None:
    settings = fragile.directory / "settings" / "central-registry.toml"
    text = settings.read_text()
    fragile.end("central-registry")
    settings.write_text(text.replace("ocsp_freshness_s = 60", "ocsp_freshness_s = 5"))
    before = time.time_ns()
    fragile.start("central-registry")
    for code in ("tax", "population"):
        until(
            partial(status_is_newer, fragile, code, before),
            f"{code} asks for the status of certificates by the new configuration",
        )
    fragile.end("trust-services")
    expected = ("CERTIFICATE_STATUS_UNKNOWN", "NOT_EXECUTED")

    async def refused() -> bool:
        outcome = await call(fragile, tax)
        return bool(outcome.faults) and outcome.refusal[:2] == expected

    await eventually(refused, "without a fresh status nothing is signed")
    fragile.start("trust-services")
    await recovers(fragile, tax)


def status_is_newer(fragile: Instance, code: str, moment: int) -> bool:
    """Whether a server holds a later configuration, and later statuses than that."""
    directory = fragile.directory / f"security-server-{code}"
    configured = (directory / "configuration").stat().st_mtime_ns
    statuses = [file.stat().st_mtime_ns for file in (directory / "ocsp").iterdir()]
    # Of its own two certificates; those of peers that it no longer calls grow old.
    fresh = [asked for asked in statuses if asked > configured]
    return configured > moment and len(fresh) >= 2


def test_supervisor_that_was_killed_is_followed_by_one_that_takes_over(
    fragile: Instance,
) -> None:
    counts = {code: fragile.count(code) for code in ("tax", "population")}
    before = fragile.document
    fragile.up.kill()
    fragile.up.wait()
    after = fragile.up_again().document
    assert where(after) == where(before)
    assert fragile.call().status == 0
    for code, count in counts.items():
        assert fragile.count(code) >= count + 2
        assert fragile.verify(code).status == 0


def test_program_that_dies_is_named_and_ends_the_rest(fragile: Instance) -> None:
    # The test before has started it without --keep-going.
    pids = fragile.pids()
    os.kill(pids["security-server-health"], signal.SIGKILL)
    assert fragile.up.wait(60) == 1
    assert "security-server-health ended by signal SIGKILL" in fragile.said()
    assert not [name for name, pid in pids.items() if is_running(pid)]
    assert fragile.call().status == 3


def where(document: dict[str, Any]) -> Any:
    """Give a document without what changes with each start."""

    def kept(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: kept(value) for key, value in part.items() if key != "pid"}
        return list(map(kept, part)) if isinstance(part, list) else part

    return kept(document)
