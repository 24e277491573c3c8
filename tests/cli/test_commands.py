import json
import os
import subprocess
import sys

import pytest
from typer.main import get_command

from cli.__main__ import app, run
from cli.failures import PIPE_CLOSED, OutOfReach
from messaging.wire.identifiers import (
    member_to_pb,
    server_to_pb,
    service_to_pb,
    subsystem_to_pb,
)
from protos.v1.administration_pb2 import AccessRight, ProvidedService
from protos.v1.configuration_pb2 import RegisteredMember, RegisteredServer
from protos.v1.trust_services_pb2 import IssuedCertificate
from tests.cli.conftest import CLIENTS, SERVERS
from tests.cli.fakes import timestamp
from vocabulary.faults import RegistrationInvalid
from vocabulary.identifiers import MemberId, SecurityServerId, ServiceId, SubsystemId

TAX, POPULATION = map(SubsystemId.parse, CLIENTS)
TAX_SERVER, POPULATION_SERVER = map(SecurityServerId.parse, SERVERS)
PERSONS = ServiceId.parse("EE-SANDBOX/GOV/70008440/population/persons/v1")
GET_PERSON = "population.v1.PersonRegistry/GetPerson"


def leaves(command, path=()):
    for name, child in getattr(command, "commands", {}).items():
        yield from leaves(child, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command


COMMANDS = dict(leaves(get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_and_json(path, capsys) -> None:
    assert run([*path, "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"Example: ristmik {' '.join(path)}" in printed
    assert "--json" in printed
    assert "--dir" in printed


def test_help_is_there_in_a_second() -> None:
    command = [sys.executable, "-m", "cli", "--help"]
    ended = subprocess.run(command, capture_output=True, check=True, timeout=30)  # noqa: S603
    assert b"Usage: ristmik" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["member", "register", "EE-SANDBOX/GOV", "--name", "x"], "member identifier"),
        (["member", "register", "EE-SANDBOX/GOV/1"], "--name"),
        (["requests", "approve", "0"], "'N'"),
        (["requests", "approve", "eleven"], "'N'"),
        (["access", "grant", str(PERSONS), "tax"], "subsystem identifier"),
        (["nothing"], "nothing"),
        (["member", "list", "--loud"], "--loud"),
    ],
)
def test_misuse_is_named_and_ends_with_2(ristmik, arguments, named) -> None:
    ran = ristmik(*arguments, "--json")
    assert ran.status == 2
    assert ran.document["error"]["code"] == "USAGE"
    assert named in ran.document["error"]["detail"]
    assert named in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("arguments", [[], ["member"]])
def test_without_a_command_there_is_help(ristmik, arguments) -> None:
    ran = ristmik(*arguments)
    assert ran.status == 2
    assert "Usage: ristmik" in ran.out + ran.err


def test_no_instance_is_3_and_says_how_to_start_one(ristmik, tmp_path) -> None:
    ran = ristmik("member", "list", "--dir", str(tmp_path), "--json")
    assert ran.status == 3
    assert ran.document["error"]["code"] == "UNREACHABLE"
    assert f"ristmik up --dir {tmp_path}" in ran.document["error"]["detail"]
    assert ristmik("member", "list", "--dir", str(tmp_path)).out == ""


def test_description_that_cannot_be_read_is_3(ristmik, instance) -> None:
    (instance.directory / "instance.json").write_text('{"registry": 1}')
    ran = ristmik("member", "list")
    assert ran.status == 3
    assert "instance.json" in ran.err


def test_part_that_is_down_is_3(ristmik, instance) -> None:
    (instance.directory / "registry").unlink()
    ran = ristmik("member", "list")
    assert (ran.status, ran.out) == (3, "")
    assert "the central registry does not answer" in ran.err


def test_defect_is_a_sentence(monkeypatch, capsys) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise LookupError("so it is")

    monkeypatch.delenv("RISTMIK_TRACEBACK", raising=False)
    monkeypatch.setattr("cli.commands.member.registry", broken)
    assert run(["member", "list", "--json"]) == OutOfReach.status
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["code"] == "INTERNAL"
    assert "so it is" in captured.err


def test_member_is_registered_listed_and_approved(ristmik, instance) -> None:
    ran = ristmik("member", "register", "EE-SANDBOX/GOV/1", "--name", "Land", "--json")
    assert ran.document == {
        "request": {
            "number": 1,
            "kind": "member",
            "state": "waiting",
            "subject": "EE-SANDBOX/GOV/1",
            "asked_at": "2026-11-25T07:30:00+00:00",
            "decided_at": None,
            "reason": None,
        }
    }
    assert ran.status == 0
    assert instance.registry.asked[0].name == "Land"
    listed = ristmik("requests", "list", "--json").document["requests"]
    assert [request["number"] for request in listed] == [1]
    approved = ristmik("requests", "approve", "1", "--json").document
    assert approved["configuration_version"] == 7
    assert approved["request"]["state"] == "approved"
    assert ristmik("requests", "list", "--json").document == {"requests": []}
    assert "none" in ristmik("requests", "list").out
    decided = ristmik("requests", "list", "--all", "--json").document["requests"]
    assert decided == [approved["request"]]


def test_registering_says_how_to_go_on(ristmik) -> None:
    ran = ristmik("member", "register", "EE-SANDBOX/GOV/1", "--name", "Land Board")
    assert "ristmik requests approve 1" in ran.out


def test_request_is_rejected_with_its_reason(ristmik) -> None:
    ristmik("member", "register", "EE-SANDBOX/GOV/1", "--name", "Land Board")
    ran = ristmik("requests", "reject", "1", "--reason", "no public body", "--json")
    assert ran.document["request"]["state"] == "rejected"
    assert ran.document["request"]["reason"] == "no public body"


def test_fault_of_a_part_is_1_under_its_own_code(ristmik) -> None:
    ran = ristmik("requests", "approve", "9", "--json")
    assert ran.status == 1
    assert ran.document["error"] == {
        "code": "REQUEST_UNKNOWN",
        "detail": "no request 9 waits: see the list",
    }


def test_subsystem_is_registered_on_its_server(ristmik, instance) -> None:
    ran = ristmik("subsystem", "register", str(TAX), "--server", str(TAX_SERVER))
    assert ran.status == 0
    (request,) = instance.registry.asked
    assert request.id == subsystem_to_pb(TAX)
    assert request.server == server_to_pb(TAX_SERVER)


def test_members_subsystems_and_servers_are_listed(ristmik, instance) -> None:
    instance.registry.members = [
        RegisteredMember(
            id=member_to_pb(TAX.member), name="Tax", subsystems=[subsystem_to_pb(TAX)]
        )
    ]
    instance.registry.servers = [
        RegisteredServer(
            id=server_to_pb(TAX_SERVER),
            address="127.0.0.1:5500",
            authentication_certificates=[b"der"],
            checkpoint_keys=["key"],
            subsystems=[subsystem_to_pb(TAX)],
        )
    ]
    assert ristmik("member", "list", "--json").document == {
        "members": [
            {"id": str(TAX.member), "name": "Tax", "subsystems": [str(TAX)]},
        ]
    }
    assert ristmik("subsystem", "list", "--json").document == {
        "subsystems": [{"id": str(TAX), "servers": [str(TAX_SERVER)]}]
    }
    (server,) = ristmik("server", "list", "--json").document["servers"]
    assert server["address"] == "127.0.0.1:5500"
    assert server["checkpoint_keys"] == ["key"]
    assert len(server["authentication_certificates"][0]) == 64
    for kind in ("member", "subsystem", "server"):
        assert str(TAX.member) in ristmik(kind, "list").out


def test_server_is_registered_with_its_certificate(
    ristmik, instance, tmp_path, certificate
) -> None:
    path = tmp_path / "auth.pem"
    for content in (certificate.pem, certificate.der):
        instance.registry.requests.clear()
        path.write_bytes(content)
        ran = ristmik(
            *("server", "register", str(TAX_SERVER), "--address", "127.0.0.1:5500"),
            *("--certificate", str(path), "--checkpoint-key", "key\n"),
        )
        assert ran.status == 0
        asked = instance.registry.asked[-1]
        assert asked.authentication_certificate == certificate.der
        assert asked.checkpoint_key == "key"


def test_file_that_is_no_certificate_is_misuse(ristmik, tmp_path) -> None:
    path = tmp_path / "auth.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\n")
    ran = ristmik(
        *("server", "register", str(TAX_SERVER), "--address", "127.0.0.1:5500"),
        *("--certificate", str(path), "--checkpoint-key", "key"),
    )
    assert ran.status == 2
    assert "no X.509 certificate" in ran.err


def test_service_goes_to_the_server_of_its_provider(
    ristmik, instance, tmp_path
) -> None:
    descriptors = tmp_path / "set"
    descriptors.write_bytes(b"descriptors")
    ran = ristmik(
        *("service", "add", str(PERSONS), "--address", "127.0.0.1:50051", "--json"),
        *("--descriptors", str(descriptors), "--personal"),
        *("--request-subject", "A.b", "--request-subject", "C.d"),
        *("--response-subject", "E.f"),
    )
    tax, population = instance.administrations
    assert tax.asked == []
    (asked,) = population.asked
    assert asked.descriptors == b"descriptors"
    assert ran.document["service"] == {
        "id": str(PERSONS),
        "server": str(POPULATION_SERVER),
        "address": "127.0.0.1:50051",
        "methods": [GET_PERSON],
        "personal": True,
        "request_subjects": ["A.b", "C.d"],
        "response_subjects": ["E.f"],
    }
    listed = ristmik("service", "list", "--json").document
    assert listed == {"services": [ran.document["service"]]}
    mine = ristmik("service", "list", "--server", str(TAX_SERVER), "--json")
    assert mine.document == {"services": []}
    assert GET_PERSON in ristmik("service", "list").out
    assert ristmik("service", "remove", str(PERSONS)).status == 0
    assert ristmik("service", "list", "--json").document == {"services": []}


def test_service_that_is_refused_is_1(ristmik, instance) -> None:
    instance.administrations[1].fault = RegistrationInvalid("name its subjects")
    ran = ristmik("service", "add", str(PERSONS), "--address", "h:1", "--json")
    assert (ran.status, ran.document["error"]["code"]) == (1, "REGISTRATION_INVALID")


def test_descriptors_that_cannot_be_read_are_misuse(ristmik, tmp_path) -> None:
    missing = str(tmp_path / "none")
    arguments = ("service", "add", str(PERSONS), "--address", "h:1")
    assert ristmik(*arguments, "--descriptors", missing).status == 2


def test_subsystem_registered_later_is_found_at_the_registry(ristmik, instance) -> None:
    later = SubsystemId(POPULATION.member, "archive")
    instance.registry.servers = [
        RegisteredServer(
            id=server_to_pb(TAX_SERVER), subsystems=[subsystem_to_pb(later)]
        )
    ]
    service = ServiceId(later, "files", "v1")
    assert ristmik("service", "add", str(service), "--address", "h:1").status == 0
    assert len(instance.administrations[0].asked) == 1


def test_unknown_provider_is_asked_of_its_members_server(ristmik, instance) -> None:
    service = ServiceId(SubsystemId(POPULATION.member, "none"), "files", "v1")
    assert ristmik("service", "add", str(service), "--address", "h:1").status == 0
    assert len(instance.administrations[1].asked) == 1
    stranger = SubsystemId(MemberId("EE-SANDBOX", "COM", "1"), "none")
    service = ServiceId(stranger, "files", "v1")
    ran = ristmik("service", "add", str(service), "--address", "h:1", "--json")
    assert (ran.status, ran.document["error"]["code"]) == (1, "MEMBER_UNKNOWN")


def test_unknown_server_is_misuse(ristmik) -> None:
    unknown = "EE-SANDBOX/GOV/1/ss1"
    ran = ristmik("service", "list", "--server", unknown)
    assert ran.status == 2
    assert str(TAX_SERVER) in ran.err


@pytest.mark.parametrize("method", ["GetPerson", GET_PERSON, f"/{GET_PERSON}"])
def test_right_is_granted_listed_and_revoked(ristmik, instance, method) -> None:
    population = instance.administrations[1]
    provided = ProvidedService(service=service_to_pb(PERSONS), methods=[GET_PERSON])
    population.services = [provided]
    named = (str(PERSONS), str(TAX), "--method", method)
    granted = ristmik("access", "grant", *named, "--json")
    assert granted.document == {
        "granted": {
            "service": str(PERSONS),
            "client": str(TAX),
            "method": GET_PERSON,
            "server": str(POPULATION_SERVER),
        }
    }
    listed = ristmik("access", "list", "--json").document
    assert listed == {"rights": [granted.document["granted"]]}
    assert GET_PERSON in ristmik("access", "list").out
    assert ristmik("access", "revoke", *named).status == 0
    assert population.rights == []
    ran = ristmik("access", "revoke", *named, "--json")
    assert (ran.status, ran.document["error"]["code"]) == (1, "RIGHT_UNKNOWN")


def test_right_to_the_whole_service_names_no_method(ristmik, instance) -> None:
    ristmik("access", "grant", str(PERSONS), str(TAX))
    right = AccessRight(service=service_to_pb(PERSONS), client=subsystem_to_pb(TAX))
    assert instance.administrations[1].rights == [right]
    (listed,) = ristmik("access", "list", "--json").document["rights"]
    assert listed["method"] is None


def test_short_method_must_name_one(ristmik, instance) -> None:
    named = ("access", "grant", str(PERSONS), str(TAX), "--method", "GetNobody")
    ran = ristmik(*named, "--json")
    assert (ran.status, ran.document["error"]["code"]) == (1, "SERVICE_UNKNOWN")
    provided = ProvidedService(service=service_to_pb(PERSONS), methods=[GET_PERSON])
    instance.administrations[1].services = [provided]
    ran = ristmik(*named, "--json")
    assert (ran.status, ran.document["error"]["code"]) == (1, "METHOD_UNKNOWN")
    assert GET_PERSON in ran.document["error"]["detail"]


def test_certificates_are_listed_and_revoked(ristmik, instance) -> None:
    instance.authority.issued["3f"] = IssuedCertificate(
        serial="3f", usage="signing", holder=str(TAX.member), not_after=timestamp()
    )
    (listed,) = ristmik("certificate", "list", "--json").document["certificates"]
    assert listed == {
        "serial": "3f",
        "usage": "signing",
        "holder": str(TAX.member),
        "not_after": "2026-11-25T07:30:00+00:00",
        "revoked_at": None,
    }
    ran = ristmik("certificate", "revoke", "3f", "--json")
    assert ran.document["certificate"]["revoked_at"] is not None
    assert "signing" in ristmik("certificate", "list").out
    ran = ristmik("certificate", "revoke", "40", "--json")
    assert (ran.status, ran.document["error"]["code"]) == (1, "NOT_FOUND")


def test_pipe_that_nobody_reads_ends_quietly(instance) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "cli", "member", "list", "--dir"]
    with os.fdopen(writer) as closed:
        ended = subprocess.run(  # noqa: S603
            [*command, str(instance.directory)],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            timeout=30,
        )
    assert (ended.returncode, ended.stderr) == (PIPE_CLOSED, b"")


@pytest.mark.parametrize("columns", ["1", "20", "80", "500"])
def test_no_width_of_terminal_breaks_a_table(
    ristmik, instance, monkeypatch, columns
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    provided = ProvidedService(
        service=service_to_pb(PERSONS), methods=[GET_PERSON], address="127.0.0.1:5"
    )
    instance.administrations[1].services = [provided]
    printed = ristmik("service", "list").out
    # In a pipe no cell is cut, whatever the width.
    assert GET_PERSON in printed
    assert str(PERSONS) in printed
