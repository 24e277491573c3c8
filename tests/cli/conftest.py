"""An instance of fakes for the commands, and a way to run one."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cli.__main__ import run
from protos.v1.administration_pb2_grpc import (
    add_AdministrationServiceServicer_to_server,
)
from protos.v1.registry_pb2_grpc import add_RegistryServiceServicer_to_server
from protos.v1.trust_services_pb2_grpc import (
    add_CertificationAuthorityServiceServicer_to_server,
)
from tests.cli.fakes import (
    GIVEN_TIME,
    FakeAdministration,
    FakeAuthority,
    FakeRegistry,
    serving,
)

SERVERS = ("EE-SANDBOX/GOV/70000349/ss1", "EE-SANDBOX/GOV/70008440/ss1")
CLIENTS = {
    "EE-SANDBOX/GOV/70000349/tax": SERVERS[0],
    "EE-SANDBOX/GOV/70008440/population": SERVERS[1],
}


@dataclass(frozen=True)
class FakeInstance:
    directory: Path
    registry: FakeRegistry
    authority: FakeAuthority
    # One for each server.
    administrations: tuple[FakeAdministration, FakeAdministration]

    def describe(self, **changes: Any) -> None:
        """Write instance.json; all servers take calls at `local` and share `dsn`."""
        local = changes.get("local", "127.0.0.1:1")
        dsn = changes.get("dsn", "postgresql://nobody@127.0.0.1:1/none")
        document = {
            "instance": "EE-SANDBOX",
            "dir": str(self.directory),
            "registry": {
                "id": "EE-SANDBOX/registry",
                "address": "127.0.0.1:1",
                "admin": f"unix:{self.directory}/registry",
                "anchor": f"{self.directory}/anchor.json",
            },
            "trust": {
                "ca": "http://127.0.0.1:1/ca.pem",
                "admin": f"unix:{self.directory}/trust",
            },
            "servers": [
                {
                    "id": id_,
                    "local": local,
                    "http": "http://127.0.0.1:1",
                    "admin": f"unix:{self.directory}/ss{number}",
                    "database_dsn": dsn,
                    "reader_dsn": dsn,
                    "subject_keys": f"{self.directory}/subject-keys",
                }
                for number, id_ in enumerate(SERVERS)
            ],
            "clients": [{"id": c, "server": s} for c, s in CLIENTS.items()],
            "example": {},
        }
        (self.directory / "instance.json").write_text(json.dumps(document))


@pytest.fixture
def instance() -> Iterator[FakeInstance]:
    with tempfile.TemporaryDirectory(prefix="rm-") as directory, ExitStack() as stack:
        made = FakeInstance(
            Path(directory),
            FakeRegistry(),
            FakeAuthority(),
            (FakeAdministration(), FakeAdministration()),
        )
        parts = {
            "registry": (add_RegistryServiceServicer_to_server, made.registry),
            "trust": (
                add_CertificationAuthorityServiceServicer_to_server,
                made.authority,
            ),
            "ss0": (
                add_AdministrationServiceServicer_to_server,
                made.administrations[0],
            ),
            "ss1": (
                add_AdministrationServiceServicer_to_server,
                made.administrations[1],
            ),
        }
        for name, (add, servicer) in parts.items():
            address = f"unix:{directory}/{name}"
            stack.enter_context(serving(address, lambda to: add(servicer, to)))  # noqa: B023 - called at once
        made.describe()
        yield made


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)


@pytest.fixture
def ristmik(
    instance: FakeInstance,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Ran]:
    monkeypatch.setenv("RISTMIK_DIR", str(instance.directory))
    # What fails inside the command shall fail the test, with its traceback.
    monkeypatch.setenv("RISTMIK_TRACEBACK", "1")
    monkeypatch.setenv("COLUMNS", "80")

    def command(*arguments: str) -> Ran:
        status = run(arguments)
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return command


@dataclass(frozen=True)
class FakeCertificate:
    pem: bytes
    der: bytes


@pytest.fixture(scope="session")
def certificate() -> FakeCertificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ss1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(GIVEN_TIME)
        .not_valid_after(GIVEN_TIME + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return FakeCertificate(
        made.public_bytes(Encoding.PEM), made.public_bytes(Encoding.DER)
    )
