"""The sandbox instance under one supervisor: started, populated, watched, stopped.

1. Take the directory, stop what a killed supervisor left.
2. Start PostgreSQL and the agencies' systems.
3. Start the services and populate them, as cli.sandbox.start says.
"""

import asyncio
import importlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cli.postgres.private import GivenPostgres, PrivatePostgres, postgres_for
from cli.sandbox import databases
from cli.sandbox.agencies import AGENCIES
from cli.sandbox.directory import Choices, InstanceDirectory, is_free
from cli.sandbox.directory_lock import DirectoryLock
from cli.sandbox.failures import DirectoryUnusable, ProgramFailed, SandboxFailure
from cli.sandbox.programs import (
    LONGEST_SOCKET_NAME,
    SandboxPrograms,
    listeners,
)
from cli.sandbox.start import SYSTEMS, SandboxStart
from cli.sandbox.supervisor import Report, Supervisor, stop_left_running

ROOT = Path(__file__).parents[2]
# What takes long to import, done while PostgreSQL starts.
_SLOW_IMPORTS = (
    "central_registry.store",
    "ledger.store",
    "security_server.registration.store",
)


class SandboxInstance:
    """One instance in one directory; start it once, and stop it."""

    def __init__(
        self, path: Path, *, postgres: str | None = None, report: Report
    ) -> None:
        """`postgres` is as RISTMIK_POSTGRES."""
        self._directory = InstanceDirectory(path.absolute())
        self._report = report
        self._lock = DirectoryLock(self._directory.lock)
        self._postgres = postgres_for(self._directory.postgres, postgres, report=report)
        self._postgres_watched: int | None = None
        # None as long as those that are there may be another launcher's.
        self._made_sockets: Path | None = None
        self._supervisor = Supervisor(directory=ROOT, report=report)

    async def start(self) -> Mapping[str, Any]:
        """Start all and give the document; raises a SandboxFailure with all stopped."""
        try:
            return await self._start()
        except BaseException:
            await self.stop()
            raise

    async def one_ended(self) -> None:
        """Wait until a program of the instance ends by itself."""
        await self._supervisor.one_ended()

    async def stop_left_running(self) -> None:
        """Stop what a killed supervisor left; raises InUse if one is at work."""
        self._lock.take()
        try:
            choices = self._directory.load_choices()
            if choices is not None:
                sockets = self._sockets()
                programs = SandboxPrograms(self._directory, choices, sockets)
                await stop_left_running(reversed(programs.all()), report=self._report)
                self._directory.remove_socket_directory(sockets)
            if isinstance(self._postgres, PrivatePostgres):
                await asyncio.to_thread(self._postgres.stop_left_running)
        finally:
            self._lock.release()

    async def stop(self) -> bool:
        """Stop services first, PostgreSQL last; False if one did not end well."""
        well = await self._supervisor.stop()
        if self._postgres_watched is not None:
            self._supervisor.unwatch(self._postgres_watched)
            self._postgres_watched = None
        await asyncio.to_thread(self._postgres.stop)
        if self._made_sockets is not None:
            self._directory.remove_socket_directory(self._made_sockets)
            self._made_sockets = None
        self._lock.release()
        return well

    async def _start(self) -> Mapping[str, Any]:
        choices = await asyncio.to_thread(self._take_directory)
        sockets = self._made_sockets = self._sockets()
        programs = SandboxPrograms(self._directory, choices, sockets)
        await stop_left_running(programs.all(), report=self._report)
        _require_free_ports(choices)
        self._supervisor.start(*programs.systems.values(), wave=SYSTEMS)
        await self._start_postgres()
        starting = SandboxStart(
            directory=self._directory,
            choices=choices,
            programs=programs,
            postgres=self._postgres,
            runner=self._supervisor,
            report=self._report,
        )
        return await starting.run()

    def _sockets(self) -> Path:
        return self._directory.socket_directory(longest_name=LONGEST_SOCKET_NAME)

    def _take_directory(self) -> Choices:
        if not (ROOT / "examples/agencies").is_dir():
            raise DirectoryUnusable(
                f"the agencies' systems are not beside {ROOT / 'cli'}: run the sandbox "
                "from a checkout of ristmik"
            )
        if isinstance(self._postgres, PrivatePostgres):
            # Before anything is made that would be left behind.
            self._postgres.require_reach(self._directory.path.parent)
        folders = self._directory.folders(agency.code for agency in AGENCIES)
        # PostgreSQL may run as another account, whose way leads through it.
        self._directory.prepare(searchable=os.geteuid() == 0, folders=folders)
        self._lock.take()
        choices = self._directory.load_choices()
        if choices is None:
            choices = Choices.make(
                listeners=listeners(),
                roles=databases.role_names(),
                shared=isinstance(self._postgres, GivenPostgres),
            )
            self._directory.save_choices(choices)
        return choices

    async def _start_postgres(self) -> None:
        starting = asyncio.create_task(asyncio.to_thread(self._postgres.start))
        imports = asyncio.to_thread(
            lambda: list(map(importlib.import_module, _SLOW_IMPORTS))
        )
        try:
            await asyncio.gather(asyncio.shield(starting), imports)
        except asyncio.CancelledError:
            # Not left alone in its thread: it is stopped once it has ended.
            self._postgres.interrupt()
            with suppress(SandboxFailure):
                await starting
            raise
        if isinstance(self._postgres, PrivatePostgres):
            self._postgres_watched = self._postgres.descriptor
            self._supervisor.watch(
                "PostgreSQL",
                descriptor=self._postgres_watched,
                log=self._postgres.log,
            )


def _require_free_ports(choices: Choices) -> None:
    for listener, port in choices.ports.items():
        if not is_free(port):
            raise ProgramFailed(
                f"port {port}, on which {listener} of this instance listens, is taken "
                "by another program: stop that, or start anew in another directory"
            )
