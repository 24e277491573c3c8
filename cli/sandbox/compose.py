"""The setup of docker-compose.yml: the sandbox's own steps, its programs in containers.

    python -m cli.sandbox.compose --password-file FILE

A program's container waits for a file of its name in the instance's directory, which
all of them share. What the composition says of hosts and ports stands here once more.
"""

import argparse
import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.failures import CommandFailure
from cli.postgres.private import GivenPostgres
from cli.postgres.roles import libpq_uri
from cli.sandbox.agencies import AGENCIES
from cli.sandbox.databases import role_names
from cli.sandbox.directory import Choices, InstanceDirectory
from cli.sandbox.failures import PostgresUnusable, ProgramFailed
from cli.sandbox.programs import (
    LONGEST_SOCKET_NAME,
    REGISTRY,
    TRUST,
    SandboxPrograms,
    listeners,
    server_name,
    system_name,
)
from cli.sandbox.start import SandboxStart
from cli.sandbox.supervisor import READY_WITHIN_S, Check, NotReady, Program

# Every program of a kind listens on the same port, in a network namespace of its own.
PORTS: Final = {"local": 7001, "peer": 7002, "http": 7003}
SYSTEM_PORT: Final = 7010
AUTHORITY_PORTS: Final = {TRUST: 8080, REGISTRY: 4001}
STARTED: Final = "started"
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Containers:
    """Programs that run elsewhere and wait for a word."""

    directory: Path

    def start(self, *programs: Program, wave: int) -> None:
        del wave
        for program in programs:
            (self.directory / STARTED / program.name).touch()

    async def until_ready(self, name: str, check: Check) -> None:
        waited = 0.0
        while True:
            try:
                await check()
            except NotReady as reason:
                if waited >= READY_WITHIN_S:
                    raise ProgramFailed(f"{name} is not ready: {reason}") from reason
            else:
                return
            await asyncio.sleep(_POLL_S)
            waited += _POLL_S

    def pid(self, name: str) -> None:
        del name


def choices() -> Choices:
    """Choose passwords; ports and hosts are the composition's."""
    made = Choices.make(listeners=(), roles=role_names(), shared=False)
    ports = dict(AUTHORITY_PORTS)
    hosts = {TRUST: TRUST, REGISTRY: REGISTRY}
    for agency in AGENCIES:
        server = server_name(agency)
        ports |= {f"{server}/{leg}": port for leg, port in PORTS.items()}
        ports[system_name(agency)] = SYSTEM_PORT
        # The local leg and the agency's own system stay on loopback.
        hosts |= {f"{server}/{leg}": server for leg in ("peer", "http")}
    known = set(listeners())
    ports = {listener: port for listener, port in ports.items() if listener in known}
    return Choices(ports, made.passwords, prefix="", hosts=hosts)


async def set_up(directory: InstanceDirectory, postgres: GivenPostgres) -> None:
    servers = (agency.code for agency in AGENCIES)
    folders = [*directory.folders(servers), directory.path / STARTED]
    directory.prepare(searchable=False, folders=folders)
    chosen = directory.load_choices()
    if chosen is None:
        chosen = choices()
        directory.save_choices(chosen)
    await _until_started(postgres)
    sockets = directory.socket_directory(longest_name=LONGEST_SOCKET_NAME)
    start = SandboxStart(
        directory=directory,
        choices=chosen,
        programs=SandboxPrograms(directory, chosen, sockets),
        postgres=postgres,
        runner=Containers(directory.path),
        report=_say,
    )
    await start.run()


async def _until_started(postgres: GivenPostgres) -> None:
    waited = 0.0
    while True:
        try:
            await asyncio.to_thread(postgres.start)
        except PostgresUnusable:
            if waited >= READY_WITHIN_S:
                raise
        else:
            return
        await asyncio.sleep(_POLL_S)
        waited += _POLL_S


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cli.sandbox.compose")
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--postgres-host", default="postgres")
    arguments = parser.parse_args()
    dsn = libpq_uri(
        database="postgres",
        user="postgres",
        password=arguments.password_file.read_text().strip(),
        host=arguments.postgres_host,
    )
    directory = InstanceDirectory(Path(os.environ["RISTMIK_DIR"]))
    try:
        asyncio.run(set_up(directory, GivenPostgres(dsn)))
    except CommandFailure as failure:
        _say(str(failure))
        return failure.status
    _say(f"{directory.document} says where everything is")
    return 0


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)  # noqa: T201 - a container's log


if __name__ == "__main__":
    raise SystemExit(main())
