"""A member's system that is away, slow, dying or wrong: what is said of execution."""

import asyncio
import socket
from time import monotonic

import pytest

from messaging.transport import MESSAGE_LIMIT
from security_server.information_system import InformationSystem
from tests.security_server.calling import echo, hang, received
from tests.security_server.systems import SILENT_COMMAND, System, messages_of, running
from tests.security_server.waiting import until
from vocabulary.faults import (
    DeadlineExceeded,
    Execution,
    LimitExceeded,
    MessageInvalid,
    SystemUnreachable,
)


@pytest.fixture
async def caller():
    system = InformationSystem(monotonic)
    yield system
    await system.close()


@pytest.mark.parametrize("over", [1, 2 << 20])
async def test_an_answer_over_the_limit_is_refused_by_name(caller, over):
    async def answer(context, _bodies):
        await messages_of(context)
        await context.write(bytes(MESSAGE_LIMIT + over))

    system = System(answer)
    async with running(system):
        with pytest.raises(LimitExceeded, match="message") as refused:
            await caller.call(received(system.address), 20)
    assert refused.value.execution is Execution.EXECUTED


async def test_metadata_over_the_limit_is_refused_by_name(caller):
    async def answer(context, bodies):
        await context.send_initial_metadata((("k", "v" * (17 << 10)),))
        await echo(context, bodies)

    system = System(answer)
    async with running(system):
        with pytest.raises(LimitExceeded, match="metadata") as refused:
            await caller.call(received(system.address), 5)
    assert refused.value.execution is Execution.EXECUTED


async def test_a_second_message_is_refused(caller):
    ended = asyncio.Event()

    async def answer(context, bodies):
        await echo(context, bodies)
        await context.write(b"another")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    system = System(answer)
    async with running(system):
        with pytest.raises(MessageInvalid, match="second") as refused:
            await caller.call(received(system.address), 5)
        await asyncio.wait_for(ended.wait(), 5)
    assert refused.value.execution is Execution.EXECUTED


async def test_nobody_listening_is_a_fault_and_nothing_was_executed(caller):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for _ in range(3):
        with pytest.raises(SystemUnreachable, match="start it") as refused:
            await caller.call(received(address), 5)
        assert refused.value.execution is Execution.NOT_EXECUTED


async def test_a_system_that_comes_back_is_called_again(caller):
    system = System(echo)
    async with running(system):
        await caller.call(received(system.address), 5)
    port = int(system.address.rpartition(":")[2])
    with pytest.raises(SystemUnreachable):
        await caller.call(received(system.address), 5)
    async with running(system, port=port):
        response = await caller.call(received(system.address), 5)
    assert response.body == b"asked"


async def test_a_peer_that_speaks_no_http_2_is_unreachable(caller):
    async def close(_reader, writer):
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SystemUnreachable) as refused:
            await caller.call(received(f"127.0.0.1:{port}"), 5)
    assert refused.value.execution is Execution.NOT_EXECUTED


async def test_an_address_that_takes_no_connection_costs_no_more_than_the_time(caller):
    # Listening with a full backlog: the handshake is never answered.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        started = monotonic()
        with pytest.raises(DeadlineExceeded) as refused:
            await caller.call(received(address), 0.2)
    assert refused.value.execution is Execution.NOT_EXECUTED
    assert monotonic() - started < 2


async def test_a_system_that_dies_under_the_call_leaves_the_outcome_open(caller):
    process = await asyncio.create_subprocess_exec(
        *SILENT_COMMAND, stdout=asyncio.subprocess.PIPE
    )
    port = int(await process.stdout.readline())
    called = asyncio.create_task(caller.call(received(f"127.0.0.1:{port}"), 20))
    assert await process.stdout.readline() == b"called\n"
    process.kill()
    with pytest.raises(SystemUnreachable, match="lost") as refused:
        await called
    assert refused.value.execution is Execution.UNKNOWN
    await process.wait()
    process._transport.close()


async def test_a_system_that_is_stopped_under_the_call_leaves_the_outcome_open(caller):
    system = System(hang)
    async with running(system) as server:
        called = asyncio.create_task(caller.call(received(system.address), 20))
        await until(lambda: system.methods)
        await server.stop(0)
        with pytest.raises(SystemUnreachable, match="lost") as refused:
            await called
    assert refused.value.execution is Execution.UNKNOWN


async def test_a_slow_system_is_given_the_callers_time_and_no_more(caller):
    left = []

    async def slow(context, bodies):
        left.append(context.time_remaining())
        await hang(context, bodies)

    system = System(slow)
    async with running(system):
        with pytest.raises(DeadlineExceeded, match="in time") as refused:
            await caller.call(received(system.address), 0.4)
    assert refused.value.execution is Execution.UNKNOWN
    assert 0 < left[0] <= 0.4


async def test_cancelling_reaches_the_system(caller):
    cancelled = asyncio.Event()

    async def wait(context, _bodies):
        try:
            await hang(context, _bodies)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    system = System(wait)
    async with running(system):
        called = asyncio.create_task(caller.call(received(system.address), 20))
        await until(lambda: system.methods)
        called.cancel()
        await asyncio.wait_for(cancelled.wait(), 1)
        with pytest.raises(asyncio.CancelledError):
            await called
