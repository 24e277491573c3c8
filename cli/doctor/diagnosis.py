"""Looking at each part of an instance: what was found, in a sentence, and the cure."""

import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import psycopg

from cli.connection import administration, ask
from cli.doctor.finding import Finding
from cli.failures import CommandFailure
from cli.parts import Parts, ServerPart
from cli.sandbox.health_checks import grpc_health, http_health
from cli.sandbox.supervisor import Check, NotReady
from protos.v1.administration_pb2 import GetStatusRequest

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_CONNECT_WITHIN_S = 5


class Diagnosis:
    """Looks at the parts of one instance, cheapest first."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._restart = (
            f"ristmik down --dir {parts.directory}; ristmik up --dir {parts.directory}"
        )

    async def alive(self) -> list[Finding]:
        """Ask every program whether it is well."""
        return [await self._health(name, check) for name, check in self._programs()]

    async def findings(self) -> AsyncIterator[Finding]:
        """Look at what a program that is alive does not say of itself."""
        yield self._directory()
        for name, target in self._sockets():
            yield socket_finding(name, target)
        for server in self._parts.servers:
            yield self._database(server)
        for server in self._parts.servers:
            for finding in self._status(server):
                yield finding

    def _programs(self) -> Iterator[tuple[str, Check]]:
        parts = self._parts
        yield "trust-services", http_health(parts.trust_health)
        yield "trust-services, administration", grpc_health(parts.trust_admin)
        yield "central-registry", grpc_health(parts.registry_address)
        yield "central-registry, administration", grpc_health(parts.registry_admin)
        for server in parts.servers:
            yield str(server.id), http_health(f"{server.http}/health")
            yield f"{server.id}, local leg", grpc_health(server.local)
            yield f"{server.id}, administration", grpc_health(server.admin)

    def _sockets(self) -> Iterator[tuple[str, str]]:
        yield "trust-services", self._parts.trust_admin
        yield "central-registry", self._parts.registry_admin
        for server in self._parts.servers:
            yield str(server.id), server.admin

    async def _health(self, name: str, check: Check) -> Finding:
        try:
            await check()
        except NotReady as reason:
            return Finding(name, ok=False, detail=str(reason), cure=self._restart)
        return Finding(name, ok=True, detail="answers, and says that it is well")

    def _directory(self) -> Finding:
        path, name = self._parts.directory, "directory"
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS_WRITE:
            detail = f"others may write in {path} (mode {mode:o})"
            return Finding(name, ok=False, detail=detail, cure=f"chmod go-rwx {path}")
        return Finding(name, ok=True, detail=f"{path} is closed to others")

    def _database(self, server: ServerPart) -> Finding:
        name = f"database of {server.id}"
        try:
            with closing(
                psycopg.connect(server.reader_dsn, connect_timeout=_CONNECT_WITHIN_S)
            ) as connection:
                connection.execute("SELECT seq FROM ledger.head")
                version = connection.info.server_version // 10_000
        except psycopg.Error as error:
            reason = " ".join(str(error).split())
            return Finding(name, ok=False, detail=reason, cure=self._restart)
        return Finding(name, ok=True, detail=f"PostgreSQL {version} answers")

    def _status(self, server: ServerPart) -> Iterator[Finding]:
        try:
            with administration(server) as stub:
                status = ask(stub.GetStatus, GetStatusRequest(), of=str(server.id))
        except CommandFailure as failure:
            yield Finding(
                str(server.id), ok=False, detail=failure.detail, cure=self._restart
            )
            return
        for found in status.findings:
            name = f"{server.id}, {found.name}"
            yield Finding(name, ok=found.ok, detail=found.detail, cure=found.cure)


def socket_finding(name: str, target: str) -> Finding:
    name, path = f"{name}, socket", Path(target.removeprefix("unix:"))
    try:
        found = path.stat()
    except OSError as error:
        detail = f"{path}: {error.strerror}"
        return Finding(name, ok=False, detail=detail, cure="ristmik up")
    mode = stat.S_IMODE(found.st_mode)
    if mode & _OTHERS:
        detail = f"others may open {path} (mode {mode:o})"
        return Finding(name, ok=False, detail=detail, cure=f"chmod 0600 {path}")
    if found.st_uid != os.geteuid():
        detail = f"{path} belongs to user {found.st_uid}"
        return Finding(name, ok=False, detail=detail, cure="run this as that user")
    return Finding(name, ok=True, detail="only its owner may open it")
