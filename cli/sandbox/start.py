"""Starting a sandbox's services and filling them, wherever its programs run.

1. Make databases in their newest form.
2. Start trust services and the central registry.
3. Give each security server keys and certificates, and start them.
4. Register everything, let the servers fetch that, set up services and rights.
5. When every health check passes, write down where everything is.

What is already so is left so: the same steps start an instance that was stopped, or
that was never finished. Once it is populated, step 4 is its administrators' business.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cli.postgres.private import PostgresServer
from cli.sandbox import databases
from cli.sandbox.agencies import AGENCIES, Agency
from cli.sandbox.databases import SandboxDatabases
from cli.sandbox.directory import Choices, InstanceDirectory
from cli.sandbox.document import SandboxDocument
from cli.sandbox.health_checks import all_of, grpc_health, http_health
from cli.sandbox.population import SandboxPopulation, holds_configuration
from cli.sandbox.programs import (
    REGISTRY,
    TRUST,
    SandboxPrograms,
    server_name,
    system_name,
)
from cli.sandbox.supervisor import Check, Report, Runner

# Their order of stopping, the last first.
SYSTEMS, AUTHORITIES, SERVERS = range(3)


class SandboxStart:
    """Starts what an instance consists of, with its PostgreSQL running."""

    def __init__(
        self,
        *,
        directory: InstanceDirectory,
        choices: Choices,
        programs: SandboxPrograms,
        postgres: PostgresServer,
        runner: Runner,
        report: Report,
    ) -> None:
        self._directory = directory
        self._choices = choices
        self._programs = programs
        self._postgres = postgres
        self._databases = SandboxDatabases(postgres, choices)
        self._runner = runner
        self._report = report
        self._population = SandboxPopulation(directory, choices, programs)

    async def run(self) -> Mapping[str, Any]:
        """Start all and give the document; raises a SandboxFailure."""
        await asyncio.to_thread(self._require_cluster)
        await self._start_services()
        document = SandboxDocument(
            directory=self._directory,
            choices=self._choices,
            programs=self._programs,
            postgres=self._postgres,
            runner=self._runner,
        )
        written = await asyncio.to_thread(document.write)
        self._directory.save_document(written)
        return written

    def _require_cluster(self) -> None:
        cluster = databases.require_cluster(self._postgres, self._choices.cluster)
        if not self._choices.cluster:
            self._choices = replace(self._choices, cluster=cluster)
            self._directory.save_choices(self._choices)

    async def _start_services(self) -> None:
        await asyncio.to_thread(self._prepare_authorities)
        self._runner.start(
            self._programs.trust, self._programs.registry, wave=AUTHORITIES
        )
        # Meanwhile, on the processor that is left.
        await asyncio.to_thread(self._prepare_servers)
        if self._choices.populated:
            await self._start_servers()
        else:
            await self._populate()

    async def _start_servers(self) -> None:
        self._runner.start(*self._programs.servers.values(), wave=SERVERS)
        systems = map(system_name, _offering())
        await self._until_ready(TRUST, REGISTRY, *systems, *map(server_name, AGENCIES))

    async def _populate(self) -> None:
        await self._until_ready(TRUST, REGISTRY)
        self._report("trust services and central registry are ready")
        keys = await asyncio.to_thread(self._population.equip_servers)
        version, _ = await asyncio.gather(
            asyncio.to_thread(self._population.register, keys), self._start_servers()
        )
        self._report("members, subsystems and security servers are registered")
        await self._until_configured(version)
        await asyncio.to_thread(self._population.set_up_servers)
        self._directory.save_choices(replace(self._choices, populated=True))
        self._report("services are registered, rights granted")

    def _prepare_authorities(self) -> None:
        self._programs.write_trust_settings(self._databases.prepare_trust())
        self._programs.write_registry_settings(self._databases.prepare_registry())

    def _prepare_servers(self) -> None:
        for agency in AGENCIES:
            database = self._databases.prepare_server(agency)
            self._programs.write_server_settings(agency, database)

    async def _until_ready(self, *names: str) -> None:
        checks = self._checks()
        await _all(self._runner.until_ready(name, checks[name]) for name in names)

    async def _until_configured(self, version: int) -> None:
        target = self._programs.admin_target
        await _all(
            self._runner.until_ready(name, holds_configuration(target(name), version))
            for name in map(server_name, AGENCIES)
        )

    def _checks(self) -> dict[str, Check]:
        admin = self._programs.admin_target
        checks = {
            TRUST: all_of(*self._http(TRUST), grpc_health(admin(TRUST))),
            REGISTRY: all_of(*self._grpc(REGISTRY), grpc_health(admin(REGISTRY))),
        }
        for name in map(server_name, AGENCIES):
            checks[name] = all_of(
                grpc_health(admin(name)),
                *self._grpc(f"{name}/local"),
                *self._http(f"{name}/http"),
            )
        for name in map(system_name, _offering()):
            checks[name] = all_of(*self._grpc(name))
        return checks

    def _grpc(self, listener: str) -> Iterator[Check]:
        if self._choices.reachable(listener):
            yield grpc_health(self._choices.address(listener))

    def _http(self, listener: str) -> Iterator[Check]:
        if self._choices.reachable(listener):
            yield http_health(f"http://{self._choices.address(listener)}/health")


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
