"""The sandbox instance under one supervisor: started, populated, watched, stopped.

1. Take the directory, stop what a killed supervisor left.
2. Start PostgreSQL and the agencies' systems; make databases in their newest form.
3. Start trust services and the central registry.
4. Give each security server keys and certificates, and start them.
5. Register everything, let the servers fetch that, set up services and rights.
6. When every health check passes, write down where everything is.

What is already so is left so: the same steps start an instance that was stopped, or
that was never finished. Once it is populated, step 5 is its administrators' business.
"""

import asyncio
import importlib
import os
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli import sandbox_databases as databases
from cli.directory_lock import DirectoryLock
from cli.health_checks import all_of, grpc_health, http_health
from cli.instance import Choices, InstanceDirectory, is_free
from cli.postgres import GivenPostgres, PrivatePostgres, postgres_for
from cli.sandbox import AGENCIES, Agency
from cli.sandbox_databases import SandboxDatabases
from cli.sandbox_document import SandboxDocument
from cli.sandbox_failures import DirectoryUnusable, ProgramFailed, SandboxFailure
from cli.sandbox_population import SandboxPopulation, holds_configuration
from cli.sandbox_programs import (
    LONGEST_SOCKET_NAME,
    REGISTRY,
    TRUST,
    SandboxPrograms,
    listeners,
    server_name,
    system_name,
)
from cli.supervisor import Check, Report, Supervisor, stop_left_running

ROOT = Path(__file__).parents[1]
# Their order of stopping, the last first.
_SYSTEMS, _AUTHORITIES, _SERVERS = range(3)
# What takes long to import, done while PostgreSQL starts.
_SLOW_IMPORTS = ("central_registry.store", "ledger.store", "security_server.store")


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
        self._lock.release()
        return well

    async def _start(self) -> Mapping[str, Any]:
        choices = await asyncio.to_thread(self._take_directory)
        programs = SandboxPrograms(self._directory, choices, self._sockets())
        await stop_left_running(programs.all(), report=self._report)
        _require_free_ports(choices)
        self._supervisor.start(*programs.systems.values(), wave=_SYSTEMS)
        await self._start_postgres()
        choices = await asyncio.to_thread(self._know_cluster, choices)
        starting = _Starting(
            self._directory,
            choices,
            programs,
            SandboxDatabases(self._postgres, choices),
            self._supervisor,
            self._report,
        )
        await starting.start_services()
        document = await asyncio.to_thread(self._document(programs, choices).write)
        self._directory.save_document(document)
        return document

    def _sockets(self) -> Path:
        return self._directory.socket_directory(longest_name=LONGEST_SOCKET_NAME)

    def _take_directory(self) -> Choices:
        if not (ROOT / "examples/agencies").is_dir():
            raise DirectoryUnusable(
                f"the agencies' systems are not beside {ROOT / 'cli'}: run the sandbox "
                "from a checkout of ristmik"
            )
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

    def _know_cluster(self, choices: Choices) -> Choices:
        cluster = databases.require_cluster(self._postgres, choices.cluster)
        if choices.cluster:
            return choices
        choices = replace(choices, cluster=cluster)
        self._directory.save_choices(choices)
        return choices

    def _document(self, programs: SandboxPrograms, choices: Choices) -> SandboxDocument:
        return SandboxDocument(
            directory=self._directory,
            choices=choices,
            programs=programs,
            postgres=self._postgres,
            supervisor=self._supervisor,
        )


class _Starting:
    """Steps 2 to 5, with PostgreSQL running."""

    def __init__(
        self,
        directory: InstanceDirectory,
        choices: Choices,
        programs: SandboxPrograms,
        databases: SandboxDatabases,
        supervisor: Supervisor,
        report: Report,
    ) -> None:
        self._directory = directory
        self._choices = choices
        self._programs = programs
        self._databases = databases
        self._supervisor = supervisor
        self._report = report
        self._population = SandboxPopulation(directory, choices, programs)

    async def start_services(self) -> None:
        await asyncio.to_thread(self._databases.create)
        await asyncio.to_thread(self._prepare_authorities)
        self._supervisor.start(
            self._programs.trust, self._programs.registry, wave=_AUTHORITIES
        )
        # Meanwhile, on the processor that is left.
        await asyncio.to_thread(self._prepare_servers)
        await self._until_ready(TRUST, REGISTRY)
        self._report("trust services and central registry are ready")
        keys = await asyncio.to_thread(self._population.equip_servers)
        self._supervisor.start(*self._programs.servers.values(), wave=_SERVERS)
        version = 0
        if not self._choices.populated:
            version = await asyncio.to_thread(self._population.register, keys)
            self._report("members, subsystems and security servers are registered")
        await self._until_ready(*map(server_name, AGENCIES))
        await self._until_ready(*map(system_name, _offering()))
        if not self._choices.populated:
            await self._until_configured(version)
            await asyncio.to_thread(self._population.set_up_servers)
            self._directory.save_choices(replace(self._choices, populated=True))
            self._report("services are registered, rights granted")

    def _prepare_authorities(self) -> None:
        self._databases.migrate_trust()
        self._programs.write_trust_settings(self._databases.database(databases.TRUST))
        self._databases.migrate_registry()
        self._programs.write_registry_settings(
            self._databases.database(databases.REGISTRY)
        )

    def _prepare_servers(self) -> None:
        for agency in AGENCIES:
            self._databases.migrate_server(agency)
            name = databases.server_database(agency)
            self._programs.write_server_settings(agency, self._databases.database(name))

    async def _until_ready(self, *names: str) -> None:
        checks = self._checks()
        await _all(self._supervisor.until_ready(name, checks[name]) for name in names)

    async def _until_configured(self, version: int) -> None:
        target = self._programs.admin_target
        await _all(
            self._supervisor.until_ready(
                name, holds_configuration(target(name), version)
            )
            for name in map(server_name, AGENCIES)
        )

    def _checks(self) -> dict[str, Check]:
        address, admin = self._choices.address, self._programs.admin_target
        checks = {
            TRUST: all_of(
                http_health(f"http://{address(TRUST)}/health"),
                grpc_health(admin(TRUST)),
            ),
            REGISTRY: all_of(
                grpc_health(address(REGISTRY)), grpc_health(admin(REGISTRY))
            ),
        }
        for name in map(server_name, AGENCIES):
            checks[name] = all_of(
                grpc_health(admin(name)),
                grpc_health(address(f"{name}/local")),
                http_health(f"http://{address(f'{name}/http')}/health"),
            )
        for name in map(system_name, _offering()):
            checks[name] = grpc_health(address(name))
        return checks


async def _all(waiting: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all, or until the first of them raises, which this then does."""
    tasks = [asyncio.create_task(each) for each in waiting]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _offering() -> list[Agency]:
    return [agency for agency in AGENCIES if agency.offers is not None]


def _require_free_ports(choices: Choices) -> None:
    for listener, port in choices.ports.items():
        if not is_free(port):
            raise ProgramFailed(
                f"port {port}, on which {listener} of this instance listens, is taken "
                "by another program: stop that, or start anew in another directory"
            )
