import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cli.sandbox.agencies import (
    AGENCIES,
    EXAMPLE,
    GRANTS,
    LEGAL_BASES,
    PERSONS,
    PURPOSES,
)
from cli.sandbox.databases import database_roles, role_names
from cli.sandbox.directory import Choices, InstanceDirectory, NotAnInstance, is_free
from cli.sandbox.directory_lock import DirectoryLock, InUse
from cli.sandbox.failures import DirectoryUnusable
from cli.sandbox.programs import SandboxPrograms, listeners
from examples.agencies.persons import all_persons
from trust.registration import parse_code, parse_name


def made(**changed: object) -> Choices:
    chosen = Choices.make(listeners=listeners(), roles=role_names(), shared=False)
    return Choices(**{**{key: getattr(chosen, key) for key in FIELDS}, **changed})


FIELDS = ("ports", "passwords", "prefix")


@pytest.fixture
def directory(tmp_path: Path) -> InstanceDirectory:
    place = InstanceDirectory(tmp_path / "instance")
    place.prepare(searchable=False, folders=place.folders(["tax"]))
    return place


def test_everything_that_listens_has_a_free_port_of_its_own():
    ports = list(made().ports.values())
    assert len(ports) == len(set(ports)) == len(list(listeners())) == 13
    assert all(map(is_free, ports))
    # Outgoing connections are given ports from 32768 up.
    assert all(20_000 <= port < 32_768 for port in ports)


def test_a_port_that_somebody_listens_on_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_every_role_has_a_password_of_its_own():
    passwords = made().passwords
    assert set(passwords) == set(role_names())
    assert len(set(passwords.values())) == len(passwords)
    assert {role for _, roles in database_roles() for role in roles} == {
        *("owner", "login", "reader", "eraser")
    }


def test_names_on_a_shared_server_are_the_instances_own():
    prefixes = {
        Choices.make(listeners=[], roles=[], shared=True).prefix for _ in range(3)
    }
    assert len(prefixes) == 3
    assert all(prefix.startswith("ristmik_") for prefix in prefixes)


def test_choices_are_kept_as_they_were(directory: InstanceDirectory):
    assert directory.load_choices() is None
    choices = made(cluster="7", populated=True, hosts={"central-registry": "registry"})
    directory.save_choices(choices)
    assert directory.load_choices() == choices
    assert stat.S_IMODE((directory.path / "sandbox.json").stat().st_mode) == 0o600


def test_choices_of_another_version_are_refused(directory: InstanceDirectory):
    directory.save_choices(made(format=99))
    with pytest.raises(NotAnInstance, match="another version"):
        directory.load_choices()


def test_choices_that_are_torn_are_refused(directory: InstanceDirectory):
    (directory.path / "sandbox.json").write_text('{"ports": ')
    with pytest.raises(NotAnInstance, match="restore it"):
        directory.load_choices()


@pytest.mark.parametrize(("searchable", "mode"), [(True, 0o711), (False, 0o700)])
def test_a_new_directory_is_closed_to_others(
    tmp_path: Path, mode: int, *, searchable: bool
):
    place = InstanceDirectory(tmp_path / "new")
    place.prepare(searchable=searchable, folders=place.folders(["tax"]))
    assert stat.S_IMODE(place.path.stat().st_mode) == mode
    for folder in place.folders(["tax"]):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    place.prepare(searchable=searchable, folders=place.folders(["tax"]))


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path):
    tmp_path.chmod(0o750)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(NotAnInstance, match="holds other things"):
        InstanceDirectory(tmp_path).prepare(searchable=True, folders=[])
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path):
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(DirectoryUnusable, match="belongs to user 12345"):
        InstanceDirectory(tmp_path).prepare(searchable=True, folders=[])


def test_the_document_is_for_its_owner_alone(directory: InstanceDirectory):
    directory.save_document({"instance": "EE-SANDBOX", "name": "Näidis"})
    assert json.loads(directory.document.read_text())["name"] == "Näidis"
    assert stat.S_IMODE(directory.document.stat().st_mode) == 0o600


def test_a_lock_says_who_holds_it(tmp_path: Path):
    lock, other = DirectoryLock(tmp_path / "lock"), DirectoryLock(tmp_path / "lock")
    assert other.holder() is None
    lock.take()
    with pytest.raises(InUse, match="in use by another launcher"):
        other.take()
    holder = other.holder()
    assert holder is not None
    assert holder.pid == os.getpid()
    holder.close()
    lock.release()
    lock.release()
    assert other.holder() is None
    other.take()
    other.release()


def test_a_killed_holder_holds_nothing(tmp_path: Path):
    code = (
        "import pathlib, sys; from cli.sandbox.directory_lock import DirectoryLock;"
        "DirectoryLock(pathlib.Path(sys.argv[1])).take(); print(flush=True); input()"
    )
    lock = DirectoryLock(tmp_path / "lock")
    with subprocess.Popen(  # noqa: S603 - this test's own program
        [sys.executable, "-c", code, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        holder = lock.holder()
        assert holder is not None
        assert holder.pid == child.pid
        holder.close()
        child.kill()
    assert lock.holder() is None
    lock.take()
    lock.release()


def test_a_number_in_the_lock_that_is_another_programs_is_not_its_holder(
    tmp_path: Path,
):
    (tmp_path / "lock").write_text(f"{os.getppid()}\n")
    assert DirectoryLock(tmp_path / "lock").holder() is None


def test_programs_are_told_apart_by_their_commands(directory: InstanceDirectory):
    programs = SandboxPrograms(directory, made(), directory.path / "s").all()
    assert len({program.command for program in programs}) == len(programs) == 7
    assert len({program.log for program in programs}) == 7


def test_the_example_is_of_this_instance():
    assert (EXAMPLE["service"], EXAMPLE["client"]) in {
        (str(service), str(client)) for service, client in GRANTS
    }
    assert EXAMPLE["purpose"] in PURPOSES
    assert EXAMPLE["legal_basis"] in LEGAL_BASES
    assert EXAMPLE["subject"] in {person.id for person in all_persons()}
    assert json.loads(EXAMPLE["json"]) == {"person_id": EXAMPLE["subject"]}
    assert PERSONS.id.provider in {agency.subsystem for agency in AGENCIES}


@pytest.mark.parametrize("codes", [PURPOSES, LEGAL_BASES])
def test_codes_can_be_listed(codes: dict[str, str]):
    for code, name in codes.items():
        assert parse_code(code) == code
        assert parse_name(name) == name
