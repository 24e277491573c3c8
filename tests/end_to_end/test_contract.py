"""What `ristmik up --json` prints, and what is found where it points."""

import json
import os
import re
import stat
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.end_to_end.calling import OPTIONS
from tests.end_to_end.instance import Instance, is_running

MEMBER = r"EE-SANDBOX/GOV/\d{8}"
ADDRESS = r"127\.0\.0\.1:\d+"
DSN = r"postgresql://.+"
URL = rf"http://{ADDRESS}(/[a-z.]+)?"
FILE = r"/.+\.pem"

# Every key of the contract with the form of its value; there may be more.
FORMS: dict[str, Any] = {
    "instance": "EE-SANDBOX",
    "dir": r"/.+",
    "postgres": {"superuser_dsn": DSN},
    "registry": {
        "id": "EE-SANDBOX/registry",
        "address": ADDRESS,
        "database_dsn": DSN,
    },
    "trust": {
        "ca": URL,
        "ocsp": URL,
        "tsa": URL,
        "ca_certificate": FILE,
        "tsa_certificate": FILE,
    },
    "servers": [
        {
            "id": rf"{MEMBER}/ss1",
            "member": MEMBER,
            "local": ADDRESS,
            "peer": ADDRESS,
            "http": URL,
            "admin": r"unix:/.+",
            "database_dsn": DSN,
            "pid": int,
        }
    ],
    "clients": [{"id": rf"{MEMBER}/[a-z]+", "server": rf"{MEMBER}/ss1"}],
    "services": [
        {
            "id": rf"{MEMBER}/[a-z]+/[a-z]+/v1",
            "methods": [r"[a-z]+\.v1\.[A-Za-z]+/[A-Za-z]+"],
            "personal": bool,
        }
    ],
    "persons": [{"id": r"PNOEE-\d{11}", "card": r"/.+\.p12", "pin": r".+"}],
    "example": {
        "client": rf"{MEMBER}/[a-z]+",
        "service": rf"{MEMBER}/[a-z]+/[a-z]+/v1",
        "method": r"[a-z]+\.v1\.[A-Za-z]+/[A-Za-z]+",
        "json": r"\{.+\}",
        "subject": r"PNOEE-\d{11}",
        "purpose": r"[A-Z_]+",
        "legal_basis": r"[A-Za-z0-9-]+",
    },
}


def misformed(form: Any, value: Any, where: str = "") -> list[str]:
    """Name what is not as the contract has it."""
    match form:
        case dict():
            lacking = [
                f"{where}.{key} is missing" for key in form.keys() - value.keys()
            ]
            shared = form.keys() & value.keys()
            return lacking + [
                wrong
                for key in shared
                for wrong in misformed(form[key], value[key], f"{where}.{key}")
            ]
        case [each]:
            return [
                wrong
                for number, item in enumerate(value)
                for wrong in misformed(each, item, f"{where}[{number}]")
            ]
        case type():
            return [] if type(value) is form else [f"{where} is {value!r}"]
        case _:
            return [] if re.fullmatch(form, value) else [f"{where} is {value!r}"]


def test_document_has_the_form_of_the_contract(instance: Instance) -> None:
    assert not misformed(FORMS, instance.document)
    assert json.loads((instance.directory / "instance.json").read_text()) == (
        instance.document
    )


def test_document_is_about_three_agencies_that_know_each_other(
    instance: Instance,
) -> None:
    document = instance.document
    servers = {server["id"]: server for server in document["servers"]}
    assert len(servers) == 3
    for server in servers.values():
        assert server["id"] == f"{server['member']}/ss1"
        assert is_running(server["pid"])
    for client in document["clients"]:
        assert client["id"].startswith(servers[client["server"]]["member"])
    offered = {service["id"]: service for service in document["services"]}
    example = document["example"]
    assert example["client"] in {client["id"] for client in document["clients"]}
    assert example["method"] in offered[example["service"]]["methods"]
    assert offered[example["service"]]["personal"]
    assert example["subject"] in json.loads(example["json"]).values()
    assert document["dir"] == str(instance.directory)


def test_every_dsn_is_of_a_superuser(instance: Instance) -> None:
    document = instance.document
    dsns = {
        document["postgres"]["superuser_dsn"],
        document["registry"]["database_dsn"],
        *(server["database_dsn"] for server in document["servers"]),
    }
    assert len(dsns) == 5
    for dsn in dsns:
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SHOW is_superuser").fetchone() == ("on",)


@pytest.mark.parametrize("code", ["tax", "population", "health"])
def test_ledger_has_the_tables_of_the_contract(instance: Instance, code: str) -> None:
    query = (
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'ledger' AND ordinal_position = 1"
    )
    with psycopg.connect(instance.dsn(code)) as connection:
        first_columns: dict[str, str] = dict(connection.execute(query).fetchall())
    assert first_columns.keys() >= {"entry", "opening", "subject_index", "round"}
    assert first_columns["entry"] == "seq"


def test_certificates_are_where_the_document_says(instance: Instance) -> None:
    trust = instance.document["trust"]
    with direct().open(trust["ca"], timeout=10) as answer:
        assert answer.read() == Path(trust["ca_certificate"]).read_bytes()
    for key in ("ca_certificate", "tsa_certificate"):
        text = Path(trust[key]).read_text()
        assert text.startswith("-----BEGIN CERTIFICATE-----"), key


def test_administrative_sockets_are_the_owners_alone(instance: Instance) -> None:
    for server in instance.servers.values():
        found = Path(server.admin.removeprefix("unix:")).stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert found.st_uid == os.geteuid()


async def test_every_health_check_passes(instance: Instance) -> None:
    targets = [instance.document["registry"]["address"]]
    for server in instance.servers.values():
        targets += [server.local, server.admin]
        with direct().open(f"{server.http}/health", timeout=10) as answer:
            assert answer.status == 200
    targets += [system["address"] for system in instance.document["systems"]]
    for target in targets:
        async with aio.insecure_channel(target, OPTIONS) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=10
            )
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, target


def test_doctor_finds_nothing_wrong(instance: Instance) -> None:
    found = instance.answer("doctor")
    assert found["ok"], [each for each in found["findings"] if not each["ok"]]


def direct() -> urllib.request.OpenerDirector:
    """Open URLs without a proxy, whatever the environment says."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
