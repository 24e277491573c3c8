"""Bringing a call to one step of the walk and holding it there, all from outside.

A server waits where its database lets it: before a commit while the table is locked,
and after it, not knowing yet, while PostgreSQL waits for a standby that is not there.
"""

import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ledger.record import Kind
from tests.end_to_end.calling import Outcome, ask
from tests.end_to_end.desk import Desk, note
from tests.end_to_end.instance import Instance, is_running
from tests.end_to_end.waiting import eventually

SERVICE = "EE-SANDBOX/GOV/70008440/population/desk/v1"
# How a writer of a ledger names itself to PostgreSQL.
WRITER = "ristmik ledger"


@dataclass
class Battlefield:
    """An instance whose servers a test may kill, and the agency's system behind it."""

    instance: Instance
    desk: Desk

    # Calls.

    async def call(self, method: str, message_id: str, text: str = "") -> Outcome:
        """Ask the desk through both servers, on a connection of its own."""
        metadata = self.instance.example.metadata(
            service=SERVICE, message_id=message_id
        )
        async with self.instance.local("tax") as channel:
            return await ask(channel, method, note(text), metadata)

    def kinds(self, code: str, message_id: str) -> list[Kind]:
        """Say what a server's ledger holds of one message, in its order."""
        return [Kind(entry.kind) for entry in self.instance.entries(code, message_id)]

    def times_asked(self, message_id: str) -> int:
        return len(self.desk.asked_by(message_id))

    # Killing.

    def kill(self, code: str) -> None:
        self.instance.end(self.instance.server(code).program, signal.SIGKILL)

    async def revive(self) -> None:
        """Start the servers that a test has left dead."""
        pids = self.instance.pids()
        dead = (
            code
            for code, server in self.instance.servers.items()
            if not is_running(pids[server.program])
        )
        await self.start(*dead)

    async def start(self, *codes: str) -> None:
        """Start servers that were killed, and wait until all of each is there."""
        for code in codes:
            self.instance.start(self.instance.server(code).program)
        for code in codes:
            await self._until_ready(code)

    async def _until_ready(self, code: str) -> None:
        target = self.instance.server(code).admin

        async def is_ready() -> bool:
            # Its last part to start.
            async with aio.insecure_channel(target) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                try:
                    await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
                except aio.AioRpcError:
                    return False
            return True

        await eventually(is_ready, f"the server of {code} is ready")

    # Holding.

    def kill_with_its_connection(self, code: str) -> None:
        """Kill a server, and have PostgreSQL give up what it was about to write.

        What has been sent to PostgreSQL may be committed without its server.
        """
        self.kill(code)
        with psycopg.connect(self.instance.dsn(code)) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = %s",
                (WRITER,),
            )

    @contextmanager
    def no_entries(self, code: str) -> Iterator[None]:
        """Let a server write nothing into its ledger."""
        with psycopg.connect(self.instance.dsn(code)) as connection:
            connection.execute("LOCK TABLE ledger.entry IN SHARE MODE")
            yield

    async def until_it_wants_to_write(self, code: str) -> None:
        await self._until(
            code,
            "SELECT FROM pg_locks WHERE relation = 'ledger.entry'::regclass"
            " AND NOT granted",
            f"the server of {code} waits to write",
        )

    @asynccontextmanager
    async def no_commits_told(self) -> AsyncIterator[None]:
        """Have PostgreSQL make commits durable, and tell nobody that they are."""
        with self._superuser() as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            connection.execute("SELECT pg_reload_conf()")
            try:
                await self._until(
                    "tax",
                    "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
                    "PostgreSQL waits for a standby",
                )
                yield
            finally:
                connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
                connection.execute("SELECT pg_reload_conf()")

    async def until_it_has_written(self, code: str) -> None:
        """Wait until what it wanted to write is durable, and it was not told."""
        await self._until(
            code,
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            f" AND application_name = '{WRITER}' AND wait_event = 'SyncRep'",
            f"the server of {code} waits to be told",
        )

    @asynccontextmanager
    async def dies_after_record(self, code: str) -> AsyncIterator[None]:
        """Kill a server once what it next records is durable, and it was not told.

        What makes it record something is begun within.
        """
        with ExitStack() as held:
            held.enter_context(self.no_entries(code))
            yield
            await self.until_it_wants_to_write(code)
            async with self.no_commits_told():
                held.close()
                await self.until_it_has_written(code)
                self.kill(code)

    def kill_postgres_connection(self, code: str) -> None:
        """Kill a process of PostgreSQL, which then ends all others and recovers."""
        with self._superuser() as connection:
            row = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
                " AND datname = %s",
                (WRITER, f"server_{code}"),
            ).fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGKILL)

    def _superuser(self) -> psycopg.Connection[Any]:
        dsn = self.instance.document["postgres"]["superuser_dsn"]
        return psycopg.connect(dsn, autocommit=True)

    async def _until(self, code: str, query: str, what: str) -> None:
        with psycopg.connect(self.instance.dsn(code), autocommit=True) as connection:

            async def is_so() -> bool:
                return connection.execute(query.encode()).fetchone() is not None

            await eventually(is_so, what)

    # What must be so afterwards, whatever happened.

    def assert_nothing_was_lost(self, outcomes: Mapping[str, Outcome]) -> None:
        """Compare what callers were told with both ledgers and with the desk."""
        tax, population = map(self._kinds_by_message, ("tax", "population"))
        for message_id, outcome in outcomes.items():
            asked, answered = tax.get(message_id, []), population.get(message_id, [])
            times = self.times_asked(message_id)
            assert answered.count(Kind.REQUEST_RECEIVED) <= 1, message_id
            assert times <= answered.count(Kind.REQUEST_RECEIVED), message_id
            if outcome.code is StatusCode.OK:
                assert asked == [Kind.REQUEST_SENT, Kind.RESPONSE_RECEIVED]
                assert answered == [Kind.REQUEST_RECEIVED, Kind.RESPONSE_SENT]
                assert times == 1
            elif outcome.faults:
                _, execution, _ = outcome.refusal
                assert times == {"NOT_EXECUTED": 0, "EXECUTED": 1}.get(execution, times)

    def _kinds_by_message(self, code: str) -> Mapping[str, list[Kind]]:
        kinds: dict[str, list[Kind]] = {}
        for entry in self.instance.entries(code):
            kinds.setdefault(str(entry.message_id), []).append(Kind(entry.kind))
        return kinds
