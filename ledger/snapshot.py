"""One moment of a ledger, read in several streams at once.

All of them see the same, whatever is appended meanwhile.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import lru_cache
from typing import Any, Self

import psycopg

from ledger.tail import Connection
from vocabulary.imprint import SHA2_256

_CACHED_EVIDENCE = 1_000


class Snapshot:
    """A moment of the database, as any role that may read; use it in a `with` block."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._stack = ExitStack()
        self._name: str | None = None

    def __enter__(self) -> Self:
        self._first = self._connect()
        row = self._first.execute("SELECT pg_export_snapshot()").fetchone()
        self._name = None if row is None else row[0]
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """Give all rows at once."""
        return self._first.execute(query).fetchall()

    def stream(self, query: str, types: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Give rows one by one, on a connection of their own."""
        connection = self._connect()
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)") as copy,
        ):
            copy.set_types(types)
            yield from copy.rows()

    def evidence(self) -> "KeptEvidence":
        return KeptEvidence(self._connect())

    def _connect(self) -> Connection:
        connection = psycopg.connect(self._dsn, application_name="ristmik verify")
        self._stack.enter_context(closing(connection))
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        if self._name is not None:
            connection.execute(f"SET TRANSACTION SNAPSHOT '{self._name}'")
        connection.execute("SET LOCAL timezone = 'UTC'")
        return connection


class KeptEvidence(Mapping[bytes, bytes]):
    """Certificates and OCSP responses, DER, by their SHA-256."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._read = lru_cache(maxsize=_CACHED_EVIDENCE)(self._select)

    def __getitem__(self, digest: bytes) -> bytes:
        der = self._read(digest)
        if der is None:
            raise KeyError(f"{digest.hex()} is not kept")
        return der

    def __iter__(self) -> Iterator[bytes]:
        rows = self._connection.execute("SELECT imprint FROM ledger.evidence")
        return (bytes(imprint)[1:] for (imprint,) in rows)

    def __len__(self) -> int:
        row = self._connection.execute("SELECT count(*) FROM ledger.evidence")
        return int((row.fetchone() or (0,))[0])

    def _select(self, digest: bytes) -> bytes | None:
        row = self._connection.execute(
            "SELECT der FROM ledger.evidence WHERE imprint = %s",
            (bytes([SHA2_256]) + digest,),
        ).fetchone()
        return None if row is None else bytes(row[0])
