"""Callers who do not wait: their deadline passes, or they leave."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from grpc import StatusCode, aio

from ledger.record import Kind
from protos.v1 import fault_pb2
from tests.end_to_end.calling import Metadata, ask, new_message_id
from tests.end_to_end.conftest import DESK
from tests.end_to_end.desk import ASK, WAIT, Desk, note
from tests.end_to_end.instance import Instance
from tests.end_to_end.refusals import Refused, assert_refused
from tests.end_to_end.waiting import until

CANCELLED = fault_pb2.FAULT_CODE_CANCELLED
UNKNOWN = fault_pb2.EXECUTION_UNKNOWN
NOT_EXECUTED = fault_pb2.EXECUTION_NOT_EXECUTED


@pytest.fixture
def slow(desk: Desk) -> Iterator[Desk]:
    """Give the desk while its method `Wait` does not answer."""
    desk.let_go.clear()
    yield desk
    desk.let_go.set()


def on_desk(instance: Instance, message_id: str) -> Metadata:
    absent = dict.fromkeys(("subject", "purpose", "legal_basis"))
    return instance.example.metadata(
        **{"service": DESK, "message_id": message_id, **absent}
    )


async def test_answer_past_the_deadline_is_a_fault_that_still_arrives(
    instance: Instance, tax: aio.Channel, slow: Desk
) -> None:
    chosen = new_message_id()
    metadata = on_desk(instance, chosen)
    # The service is described before the time counts.
    await ask(tax, ASK, note("open?"), on_desk(instance, new_message_id()))
    outcome = await ask(tax, WAIT, note("now"), metadata, timeout_s=2)
    code = StatusCode.DEADLINE_EXCEEDED
    by = "tax" if outcome.origin == instance.server("tax").id else "health"
    assert_refused(instance, outcome, Refused("DEADLINE_EXCEEDED", code, by, "UNKNOWN"))
    assert len(slow.asked_by(chosen)) == 1
    for server in ("tax", "health"):
        entry = ending(instance, server, chosen)
        assert Kind(entry.kind) is Kind.RESPONSE_FAILED
        assert entry.execution == UNKNOWN


@pytest.mark.parametrize("timeout_s", [0.001, 0.003])
async def test_deadline_that_nothing_can_keep(
    instance: Instance, tax: aio.Channel, desk: Desk, timeout_s: float
) -> None:
    chosen = new_message_id()
    metadata = on_desk(instance, chosen)
    outcome = await ask(tax, ASK, note("now"), metadata, timeout_s=timeout_s)
    assert outcome.code is StatusCode.DEADLINE_EXCEEDED
    # A later call has the same way: once it is answered, the first has had its time.
    later = await ask(tax, ASK, note("then"), on_desk(instance, new_message_id()))
    assert later.code is StatusCode.OK
    if Kind.REQUEST_RECEIVED in kinds(instance, "health", chosen):
        assert ending(instance, "health", chosen)
    if desk.asked_by(chosen):
        assert kinds(instance, "health", chosen)[0] is Kind.REQUEST_RECEIVED
        assert NOT_EXECUTED not in {
            entry.execution
            for server in ("tax", "health")
            for entry in instance.entries(server, chosen)
        }


async def test_cancelled_call_is_recorded_on_both_sides(
    instance: Instance, tax: aio.Channel, slow: Desk
) -> None:
    chosen = new_message_id()
    stub: aio.UnaryUnaryMultiCallable[bytes, bytes] = tax.unary_unary(f"/{WAIT}")
    call = stub(note("wait"), metadata=on_desk(instance, chosen), timeout=30)
    waiting = asyncio.ensure_future(call)
    await asyncio.to_thread(until, lambda: slow.asked_by(chosen), "the desk was asked")
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await call.code() is StatusCode.CANCELLED

    for server in ("tax", "health"):
        entry = ending(instance, server, chosen)
        assert (entry.fault_code, entry.execution) == (CANCELLED, UNKNOWN)
    assert kinds(instance, "tax", chosen) == [Kind.REQUEST_SENT, Kind.CANCELLED]
    assert kinds(instance, "health", chosen)[0] is Kind.REQUEST_RECEIVED


async def test_caller_that_hangs_up_is_recorded_too(
    instance: Instance, slow: Desk
) -> None:
    chosen = new_message_id()
    async with instance.local("tax") as channel:
        stub: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/{WAIT}"
        )
        call = stub(note("wait"), metadata=on_desk(instance, chosen), timeout=30)
        waiting = asyncio.ensure_future(call)
        await asyncio.to_thread(
            until, lambda: slow.asked_by(chosen), "the desk was asked"
        )
    with pytest.raises((asyncio.CancelledError, aio.AioRpcError)):
        await waiting
    for server in ("tax", "health"):
        assert ending(instance, server, chosen).fault_code == CANCELLED


async def test_server_that_was_left_by_callers_goes_on(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    outcome = await ask(tax, ASK, note("still?"), on_desk(instance, new_message_id()))
    assert outcome.code is StatusCode.OK
    assert len(desk.asked_by(outcome.message_id)) == 1


def ending(instance: Instance, server: str, message_id: str) -> Any:
    """Give the second entry of a message once it is there."""
    entries = until(
        lambda: instance.entries(server, message_id)[1:],
        f"{server} has recorded what became of the call",
    )
    assert len(entries) == 1
    return entries[0]


def kinds(instance: Instance, server: str, message_id: str) -> list[Kind]:
    return [Kind(entry.kind) for entry in instance.entries(server, message_id)]
