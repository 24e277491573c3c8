"""Connections that fail, or wait, at one named step."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from ledger.writer import Connect, writer_connection


@dataclass(frozen=True, slots=True)
class Fault:
    step: str
    persisted: bool
    pause: bool


@dataclass(slots=True)
class Faults:
    """What happens at the next step that is named so: each once, in their order.

    `persisted`: the step is carried out before it fails. `pause`: it waits before it is
    carried out, or after if `persisted`, until it is let go on.
    """

    dsn: str
    armed: list[Fault] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def arm(self, step: str, *, persisted: bool = False, pause: bool = False) -> None:
        self.armed.append(Fault(step, persisted, pause))

    @property
    def connect(self) -> Connect:
        def connect() -> "psycopg.Connection[Any]":
            with _made(FaultyConnection):
                connection = writer_connection(self.dsn)
            assert isinstance(connection, FaultyConnection)
            connection.cursor_factory = FaultyCursor
            connection.faults = self
            return connection

        return connect

    @contextmanager
    def around(
        self, connection: "psycopg.Connection[Any]", step: str
    ) -> Iterator[None]:
        fault = None
        if self.armed and step.startswith(self.armed[0].step):
            fault = self.armed.pop(0)
            self.reached.set()
        if fault and not fault.persisted:
            self._strike(connection, fault)
        yield
        if fault and fault.persisted:
            self._strike(connection, fault)

    def _strike(self, connection: "psycopg.Connection[Any]", fault: Fault) -> None:
        if fault.pause:
            assert self.go_on.wait(30)
        else:
            connection.close()
            raise psycopg.OperationalError("the connection is lost, as it was told to")


@contextmanager
def _made(kind: type["psycopg.Connection[Any]"]) -> Iterator[None]:
    """Let `psycopg.connect` give connections of another kind."""
    original = psycopg.connect
    psycopg.connect = kind.connect
    try:
        yield
    finally:
        psycopg.connect = original


class FaultyConnection(psycopg.Connection[Any]):
    faults: Faults | None = None

    def commit(self) -> None:
        if self.faults is None:
            super().commit()
            return
        with self.faults.around(self, "commit"):
            super().commit()


class FaultyCursor(psycopg.Cursor[Any]):
    def execute(self, query, *arguments, **named):
        with self._around(query):
            return super().execute(query, *arguments, **named)

    def executemany(self, query, *arguments, **named):
        with self._around(query):
            super().executemany(query, *arguments, **named)

    @contextmanager
    def copy(self, query, *arguments, **named):
        with self._around(query), super().copy(query, *arguments, **named) as copy:
            yield copy

    def _around(self, query):
        connection = self.connection
        assert isinstance(connection, FaultyConnection)
        assert connection.faults is not None
        return connection.faults.around(connection, str(query))
