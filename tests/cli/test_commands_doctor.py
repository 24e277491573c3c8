"""`ristmik doctor` on parts that are fakes; on a real instance it is tested there."""

import socket
from contextlib import closing

import pytest

from cli.connection import find
from cli.doctor.diagnosis import Diagnosis, socket_finding
from protos.v1.administration_pb2 import Finding


@pytest.fixture
def diagnosis(instance) -> Diagnosis:
    return Diagnosis(find(instance.directory))


def test_instance_of_which_nothing_answers_is_3(ristmik, instance) -> None:
    # The fakes have no health service: to a health check they are not there.
    ran = ristmik("doctor", "--json")
    assert ran.status == 3
    assert ran.document["error"]["code"] == "UNREACHABLE"
    assert f"ristmik up --dir {instance.directory}" in ran.err


def test_socket_that_others_may_open_is_named_with_its_cure(tmp_path) -> None:
    path = tmp_path / "s"
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
        path.chmod(0o600)
        assert socket_finding("registry", f"unix:{path}").ok
        path.chmod(0o666)
        found = socket_finding("registry", f"unix:{path}")
    assert not found.ok
    assert found.cure == f"chmod 0600 {path}"
    path.unlink()
    gone = socket_finding("registry", f"unix:{path}")
    assert not gone.ok
    assert "No such file" in gone.detail


async def test_directory_that_others_may_write_in_is_wrong(diagnosis, instance) -> None:
    found = {one.name: one async for one in diagnosis.findings()}
    assert found["directory"].ok
    instance.directory.chmod(0o777)
    found = {one.name: one async for one in diagnosis.findings()}
    assert not found["directory"].ok
    assert found["directory"].cure == f"chmod go-rwx {instance.directory}"


async def test_database_that_is_down_is_wrong_and_the_rest_is_looked_at(
    diagnosis, instance
) -> None:
    said = Finding(name="time-stamps", ok=False, detail="none", cure="start the TSA")
    instance.administrations[1].findings = [said]
    found = [one async for one in diagnosis.findings()]
    assert [one.ok for one in found if one.name.startswith("database of")] == [
        False
    ] * 2
    (wrong,) = (one for one in found if "time-stamps" in one.name)
    assert (wrong.ok, wrong.detail, wrong.cure) == (False, "none", "start the TSA")


async def test_part_that_does_not_answer_is_wrong(diagnosis) -> None:
    found = await diagnosis.alive()
    assert found
    assert not any(one.ok for one in found)
    assert all("ristmik up" in one.cure for one in found)
