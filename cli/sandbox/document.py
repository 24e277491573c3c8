"""The document that says where the parts of a running instance are.

`ristmik up --json` prints it and instance.json keeps it; programs rely on its form.
"""

from collections.abc import Iterator
from typing import Any

from cli.connection import ask, channel_to
from cli.postgres.private import PostgresServer
from cli.sandbox.agencies import AGENCIES, EXAMPLE, INSTANCE, REGISTRY_ID, Agency
from cli.sandbox.databases import REGISTRY as REGISTRY_DATABASE
from cli.sandbox.databases import TRUST as TRUST_DATABASE
from cli.sandbox.databases import SandboxDatabases, server_database
from cli.sandbox.directory import Choices, InstanceDirectory
from cli.sandbox.programs import (
    REGISTRY,
    TRUST,
    SandboxPrograms,
    server_name,
    system_name,
)
from cli.sandbox.supervisor import Runner
from messaging.wire.identifiers import service_from_pb, subsystem_from_pb
from protos.v1.administration_pb2 import ListClientsRequest, ListServicesRequest
from protos.v1.administration_pb2_grpc import AdministrationServiceStub

Part = dict[str, Any]


class SandboxDocument:
    def __init__(
        self,
        *,
        directory: InstanceDirectory,
        choices: Choices,
        programs: SandboxPrograms,
        postgres: PostgresServer,
        runner: Runner,
    ) -> None:
        self._directory = directory
        self._choices = choices
        self._programs = programs
        self._postgres = postgres
        self._runner = runner
        self._databases = SandboxDatabases(postgres, choices)

    def write(self) -> Part:
        """Ask the servers what they carry; give the whole."""
        clients: list[Part] = []
        services: list[Part] = []
        for agency in AGENCIES:
            target = self._programs.admin_target(server_name(agency))
            with channel_to(target) as channel:
                administration = AdministrationServiceStub(channel)
                clients += _clients(administration, agency)
                services += _services(administration, agency)
        return {
            "instance": INSTANCE,
            "dir": str(self._directory.path),
            "postgres": {"superuser_dsn": self._postgres.superuser_dsn()},
            "registry": self._registry(),
            "trust": self._trust(),
            "servers": [self._server(agency) for agency in AGENCIES],
            "systems": list(self._systems()),
            "clients": clients,
            "services": services,
            "persons": [],
            "example": dict(EXAMPLE),
        }

    def _registry(self) -> Part:
        return {
            "id": REGISTRY_ID,
            "address": self._choices.address(REGISTRY),
            "admin": self._programs.admin_target(REGISTRY),
            "anchor": str(self._directory.anchor),
            "database_dsn": self._databases.database(REGISTRY_DATABASE).superuser_dsn,
            "pid": self._runner.pid(REGISTRY),
        }

    def _trust(self) -> Part:
        url = f"http://{self._choices.address(TRUST)}"
        return {
            "ca": f"{url}/ca.pem",
            "ocsp": f"{url}/ocsp",
            "tsa": f"{url}/tsa",
            "ca_certificate": str(self._directory.trust / "ca.pem"),
            "tsa_certificate": str(self._directory.trust / "tsa.pem"),
            "admin": self._programs.admin_target(TRUST),
            "database_dsn": self._databases.database(TRUST_DATABASE).superuser_dsn,
            "pid": self._runner.pid(TRUST),
        }

    def _server(self, agency: Agency) -> Part:
        name = server_name(agency)
        database = self._databases.database(server_database(agency))
        return {
            "id": str(agency.server),
            "member": str(agency.member),
            "local": self._choices.address(f"{name}/local"),
            "peer": self._choices.address(f"{name}/peer"),
            "http": f"http://{self._choices.address(f'{name}/http')}",
            "admin": self._programs.admin_target(name),
            "database_dsn": database.superuser_dsn,
            "reader_dsn": database.dsns["reader"],
            "subject_keys": str(self._directory.server(agency.code) / "subject-index"),
            "pid": self._runner.pid(name),
        }

    def _systems(self) -> Iterator[Part]:
        for agency in AGENCIES:
            if agency.offers is not None:
                name = system_name(agency)
                yield {
                    "member": str(agency.member),
                    "address": self._choices.address(name),
                    "pid": self._runner.pid(name),
                }


def _clients(
    administration: AdministrationServiceStub, agency: Agency
) -> Iterator[Part]:
    server = str(agency.server)
    listed = ask(administration.ListClients, ListClientsRequest(), of=server)
    for client in listed.clients:
        yield {"id": str(subsystem_from_pb(client.subsystem)), "server": server}


def _services(
    administration: AdministrationServiceStub, agency: Agency
) -> Iterator[Part]:
    request = ListServicesRequest()
    for service in ask(
        administration.ListServices, request, of=str(agency.server)
    ).services:
        yield {
            "id": str(service_from_pb(service.service)),
            "methods": list(service.methods),
            "personal": service.personal,
            "request_subjects": list(service.request_subjects),
            "response_subjects": list(service.response_subjects),
        }
