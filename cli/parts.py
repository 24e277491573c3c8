"""The parts of an instance and where they listen, as its `instance.json` lists them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin

from cli.failures import Misused
from vocabulary.identifiers import SecurityServerId, SubsystemId


@dataclass(frozen=True, slots=True)
class ServerPart:
    """One security server: addresses, and DSNs of its database."""

    id: SecurityServerId
    local: str
    http: str
    admin: str
    # Of a superuser.
    database_dsn: str
    # Of a role that may only read.
    reader_dsn: str
    # Where the keys of its subject index are, outside the database.
    subject_keys: Path

    @property
    def configuration(self) -> Path:
        """Where it keeps the newest global configuration that it has seen."""
        return self.subject_keys.parent / "configuration"


@dataclass(frozen=True, slots=True)
class Parts:
    """What an instance consists of, and which server each subsystem calls through."""

    directory: Path
    registry_address: str
    registry_admin: str
    trust_admin: str
    trust_health: str
    # The configuration anchor that the registry wrote.
    anchor: Path
    servers: Sequence[ServerPart]
    clients: Mapping[SubsystemId, SecurityServerId]
    # A call that succeeds, by the names that `ristmik call` has for its options.
    example: Mapping[str, str]

    @classmethod
    def parse(cls, document: Mapping[str, Any], *, directory: Path) -> Self:
        """Read the document that `ristmik up --json` prints, or raise ValueError."""
        try:
            return cls(
                directory,
                document["registry"]["address"],
                document["registry"]["admin"],
                document["trust"]["admin"],
                urljoin(document["trust"]["ca"], "/health"),
                Path(document["registry"]["anchor"]),
                tuple(map(_server, document["servers"])),
                {
                    SubsystemId.parse(client["id"]): SecurityServerId.parse(
                        client["server"]
                    )
                    for client in document["clients"]
                },
                document["example"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the description of an instance: {error}") from error

    def server(self, id_: SecurityServerId) -> ServerPart:
        for server in self.servers:
            if server.id == id_:
                return server
        known = ", ".join(str(server.id) for server in self.servers)
        raise Misused(f"{id_} is no server of this instance; those are {known}")

    def carrier(self, subsystem: SubsystemId) -> ServerPart | None:
        """Give the server that a subsystem of the instance calls through."""
        id_ = self.clients.get(subsystem)
        return None if id_ is None else self.server(id_)


def _server(entry: Mapping[str, Any]) -> ServerPart:
    return ServerPart(
        SecurityServerId.parse(entry["id"]),
        entry["local"],
        entry["http"],
        entry["admin"],
        entry["database_dsn"],
        entry["reader_dsn"],
        Path(entry["subject_keys"]),
    )
