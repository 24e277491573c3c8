"""The programs of the sandbox: their commands, and the settings files they read."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cli.sandbox.agencies import AGENCIES, INSTANCE, Agency, offered_services
from cli.sandbox.databases import Database
from cli.sandbox.directory import Choices, InstanceDirectory
from cli.sandbox.supervisor import Program
from vocabulary.durable import replace_file

TRUST = "trust-services"
REGISTRY = "central-registry"
# What a sandbox waits for less than a country would.
OCSP_VALIDITY_S = 60
REGISTRY_INTERVALS = {
    "generation_interval_s": 60,
    "validity_s": 600,
    "ocsp_freshness_s": 60,
    "ocsp_fetch_interval_s": 2,
    "time_stamping_interval_s": 1,
}
LONGEST_SOCKET_NAME = "central-registry.sock"

Settings = Mapping[str, str | int | Path]


def server_name(agency: Agency) -> str:
    return f"security-server-{agency.code}"


def system_name(agency: Agency) -> str:
    return f"{agency.code}-system"


def listeners() -> Iterator[str]:
    """Name everything that listens on a port, once."""
    yield REGISTRY
    yield TRUST
    for agency in AGENCIES:
        yield from (f"{server_name(agency)}/{leg}" for leg in ("local", "peer", "http"))
    for agency, _ in offered_services():
        yield system_name(agency)


class SandboxPrograms:
    """Names the programs of an instance, and writes what each is told."""

    def __init__(
        self, directory: InstanceDirectory, choices: Choices, sockets: Path
    ) -> None:
        self._directory = directory
        self._choices = choices
        self._sockets = sockets
        self.trust = self._service(TRUST, "trust_services")
        self.registry = self._service(REGISTRY, "central_registry")
        self.servers = {
            agency.code: self._service(server_name(agency), "security_server")
            for agency in AGENCIES
        }
        self.systems = {
            agency.code: self._system(agency, offered.module)
            for agency, offered in offered_services()
        }

    def all(self) -> Sequence[Program]:
        """List them all, those that others call first."""
        systems, servers = self.systems.values(), self.servers.values()
        return (*systems, self.trust, self.registry, *servers)

    def admin_socket(self, program: str) -> Path:
        return self._sockets / f"{program.removeprefix('security-server-')}.sock"

    def admin_target(self, program: str) -> str:
        return f"unix:{self.admin_socket(program)}"

    def write_trust_settings(self, database: Database) -> None:
        settings: Settings = {
            "instance": INSTANCE,
            "directory": self._directory.trust,
            "database_dsn": database.dsns["login"],
            "http_listen": self._choices.listen(TRUST),
            "public_url": f"http://{self._choices.address(TRUST)}",
            "admin_socket": self.admin_socket(TRUST),
            "ocsp_validity_s": OCSP_VALIDITY_S,
        }
        self._write(TRUST, settings)

    def write_registry_settings(self, database: Database) -> None:
        settings: Settings = {
            "instance": INSTANCE,
            "directory": self._directory.registry,
            "database_dsn": database.dsns["login"],
            "listen": self._choices.listen(REGISTRY),
            "address": self._choices.address(REGISTRY),
            "admin_socket": self.admin_socket(REGISTRY),
            **REGISTRY_INTERVALS,
        }
        self._write(REGISTRY, settings)

    def write_server_settings(self, agency: Agency, database: Database) -> None:
        name, directory = server_name(agency), self._directory.server(agency.code)
        settings: Settings = {
            "id": str(agency.server),
            "directory": directory,
            "anchor": self._directory.anchor,
            "database_dsn": database.dsns["login"],
            "eraser_dsn": database.dsns["eraser"],
            "reader_role": database.roles["reader"],
            "local_listen": self._choices.listen(f"{name}/local"),
            "peer_listen": self._choices.listen(f"{name}/peer"),
            "http_listen": self._choices.listen(f"{name}/http"),
            "admin_socket": self.admin_socket(name),
            "signing_key": directory / "signing.key",
            "signing_certificate": directory / "signing.pem",
            "authentication_key": directory / "authentication.key",
            "authentication_certificate": directory / "authentication.pem",
            "checkpoint_key": directory / "checkpoint.key",
        }
        self._write(name, settings)

    def _system(self, agency: Agency, module: str) -> Program:
        name = system_name(agency)
        return self._program(name, module, "--listen", self._choices.listen(name))

    def _service(self, name: str, module: str) -> Program:
        settings = self._directory.settings(name)
        return self._program(name, module, "--settings", str(settings))

    def _program(self, name: str, module: str, *arguments: str) -> Program:
        command = (sys.executable, "-m", module, *arguments)
        return Program(name, command, self._directory.log(name))

    def _write(self, name: str, settings: Settings) -> None:
        lines = (
            f"{key} = {value if isinstance(value, int) else _toml(str(value))}\n"
            for key, value in settings.items()
        )
        replace_file(self._directory.settings(name), "".join(lines).encode())


def _toml(text: str) -> str:
    # A JSON string is a TOML basic string, but for this one octet.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
