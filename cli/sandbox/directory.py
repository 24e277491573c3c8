"""The directory of a sandbox instance: where what is, and what was chosen once.

Ports and passwords are chosen when the instance is made and kept from then on, so that
what was told to others stays true however often it is stopped and started.
"""

import json
import os
import random
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from cli.connection import INSTANCE_FILE
from cli.sandbox.failures import DirectoryUnusable, SandboxFailure
from cli.sandbox.runtime_directory import remove_socket_directory, socket_directory
from vocabulary.durable import replace_file

# Below the range from which systems draw ports of outgoing connections: those would
# take a port of ours while the instance is stopped.
_PORTS = range(20_000, 32_768)
_FORMAT = 1


class NotAnInstance(SandboxFailure):
    """A directory that holds something else, or an instance of another version."""

    name = "NOT_AN_INSTANCE"


@dataclass(frozen=True, slots=True)
class Choices:
    """What is chosen when an instance is made."""

    ports: Mapping[str, int]
    passwords: Mapping[str, str]
    # Before the names of roles and databases, on a PostgreSQL shared with others.
    prefix: str
    # System identifier of the PostgreSQL that holds the data; empty until it is known.
    cluster: str = ""
    # Everything is registered: from now on its administrators decide.
    populated: bool = False
    # By what name the others reach a listener, where they are on another machine.
    hosts: Mapping[str, str] = field(default_factory=dict)
    format: int = field(default=_FORMAT)

    @classmethod
    def make(
        cls, *, listeners: Iterable[str], roles: Iterable[str], shared: bool
    ) -> Self:
        return cls(
            dict(zip(listeners, _free_ports(), strict=False)),
            {role: secrets.token_urlsafe(24) for role in roles},
            f"ristmik_{secrets.token_hex(3)}_" if shared else "",
        )

    def listen(self, listener: str) -> str:
        """Where it listens: on every interface only if others are to reach it."""
        interface = "0.0.0.0" if listener in self.hosts else "127.0.0.1"  # noqa: S104 - see above
        return f"{interface}:{self.ports[listener]}"

    def address(self, listener: str) -> str:
        """Where others reach it."""
        return f"{self.hosts.get(listener, '127.0.0.1')}:{self.ports[listener]}"

    def reachable(self, listener: str) -> bool:
        """Whether it can be reached from here."""
        return not self.hosts or listener in self.hosts


@dataclass(frozen=True, slots=True)
class InstanceDirectory:
    """Paths of one instance."""

    path: Path

    @property
    def document(self) -> Path:
        """What `ristmik up --json` prints, for the other commands."""
        return self.path / INSTANCE_FILE

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def trust(self) -> Path:
        return self.path / "trust-services"

    @property
    def registry(self) -> Path:
        return self.path / "central-registry"

    @property
    def anchor(self) -> Path:
        """Written by the registry; servers elsewhere are given a copy by hand."""
        return self.registry / "anchor.json"

    def server(self, code: str) -> Path:
        return self.path / f"security-server-{code}"

    def settings(self, program: str) -> Path:
        return self.path / "settings" / f"{program}.toml"

    def log(self, program: str) -> Path:
        return self.path / "logs" / f"{program}.log"

    def exists(self) -> bool:
        return self._choices.exists()

    def prepare(self, *, searchable: bool, folders: Iterable[Path]) -> None:
        """Make the directory, closed to others; `searchable` lets them pass through.

        Raises DirectoryUnusable for one that somebody else owns, and NotAnInstance for
        one that holds other things; the permissions of neither are changed.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            raise DirectoryUnusable(
                f"{self.path} belongs to user {owner}, not to you (user "
                f"{os.geteuid()}): run this as that user, or choose another directory"
            )
        if not any(self.path.iterdir()):
            self.path.chmod(0o711 if searchable else 0o700)
            self._choices.touch(mode=0o600)
        elif not self._choices.exists():
            raise NotAnInstance(
                f"{self.path} holds other things and no instance: choose an empty or "
                "a new directory"
            )
        for folder in folders:
            folder.mkdir(mode=0o700, exist_ok=True)

    def folders(self, servers: Iterable[str]) -> list[Path]:
        plain = (self.trust, self.registry, self.path / "settings", self.path / "logs")
        return [*plain, *map(self.server, servers)]

    def socket_directory(self, *, longest_name: str) -> Path:
        return socket_directory(self._sockets, longest_name=longest_name)

    def remove_socket_directory(self, path: Path) -> None:
        remove_socket_directory(path, meant=self._sockets)

    @property
    def _sockets(self) -> Path:
        return self.path / "s"

    @property
    def _choices(self) -> Path:
        return self.path / "sandbox.json"

    def load_choices(self) -> Choices | None:
        """Give what was chosen; None while nothing is."""
        text = self._choices.read_text()
        if not text:
            return None
        try:
            choices = Choices(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise NotAnInstance(
                f"{self._choices} cannot be read ({error}): restore it, or start anew "
                "in another directory"
            ) from error
        if choices.format != _FORMAT:
            raise NotAnInstance(
                f"{self.path} was made by another version of ristmik (form "
                f"{choices.format}, this one reads {_FORMAT}): use that version, or "
                "start anew in another directory"
            )
        return choices

    def save_choices(self, choices: Choices) -> None:
        replace_file(self._choices, json.dumps(asdict(choices), indent=1).encode())

    def save_document(self, document: Mapping[str, object]) -> None:
        text = json.dumps(document, indent=1, ensure_ascii=False)
        replace_file(self.document, text.encode() + b"\n")


def _free_ports() -> Iterable[int]:
    """Give ports that nobody listens on, each once."""
    taken = set[int]()
    while True:
        port = random.SystemRandom().choice(_PORTS)
        if port in taken or not is_free(port):
            continue
        taken.add(port)
        yield port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port of a connection that was closed lately is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
