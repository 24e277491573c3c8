"""The program itself: how it starts, waits, refuses to start, and ends."""

import json
from signal import SIGINT, SIGKILL, SIGTERM

import httpx2
import psycopg
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from psycopg import sql

from tests.trust_services.running import RunningTrustServices
from trust_services.store import migrate

DATABASE, OWNER, LOGIN = "trust_process", "trust_process_owner", "trust_process"


@pytest.fixture
def dsns(postgres):
    postgres.create_role(OWNER)
    postgres.create_database(DATABASE, owner=OWNER)
    owner = postgres.role_dsn(OWNER, database=DATABASE)
    yield owner, postgres.role_dsn(LOGIN, database=DATABASE)
    with psycopg.connect(postgres.superuser_dsn(), autocommit=True) as server:
        [name] = server.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s", [DATABASE + "%"]
        ).fetchone()
        server.execute(
            sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        )


@pytest.fixture
def make_program(short_directory):
    """Make programs in one directory, and end those that still run."""
    made = []

    def make(dsn, name="", **arguments):
        made.append(RunningTrustServices(short_directory / name, dsn, **arguments))
        return made[-1]

    yield make
    for program in made:
        if program.process is not None and program.process.poll() is None:
            program.stop(SIGKILL)


@pytest.fixture
def program(make_program, trust_services_dsns):
    return make_program(trust_services_dsns[1])


def logged(program):
    """Every line that was logged, each of which is one JSON object."""
    return [json.loads(line) for line in program.log.read_text().splitlines()]


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_it_ends_cleanly_when_told_to(program, number):
    program.start()
    assert program.stop(number) == (0, b"")
    events = [each["event"] for each in logged(program)]
    assert events[-2:] == ["serving", "stopped"]


def test_it_waits_for_its_database_to_be_migrated(make_program, dsns):
    program = make_program(dsns[1])
    program.launch()
    program.until(lambda: "waiting for the database" in program.log.read_text())
    assert not program.is_healthy()
    assert program.run("migrate", "--owner-dsn", dsns[0]) == 0
    program.until(program.is_healthy)


def test_it_can_be_told_to_end_while_it_waits(make_program, dsns):
    program = make_program(dsns[1])
    program.launch()
    program.until(lambda: "waiting for the database" in program.log.read_text())
    assert program.stop() == (0, b"")


def test_after_a_kill_it_starts_again(program):
    program.start()
    before = program.authority
    assert program.stop(SIGKILL)[0] == -SIGKILL
    assert program.admin_socket.exists()
    program.start()
    assert program.authority == before
    assert program.stop() == (0, b"")


def test_without_its_database_it_says_so_and_recovers(make_program, dsns, postgres):
    program = make_program(dsns[1])
    migrate(dsns[0], login=LOGIN)
    program.start()
    with psycopg.connect(postgres.superuser_dsn(), autocommit=True) as server:
        login = sql.SQL("ALTER ROLE {} {} ")
        role = sql.Identifier(LOGIN)
        server.execute(login.format(role, sql.SQL("NOLOGIN")))
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
            [LOGIN],
        )
        program.until(lambda: not program.is_healthy())
        request = ocsp.OCSPRequestBuilder().add_certificate(
            program.authority.x509, program.authority.x509, SHA256()
        )
        answer = httpx2.post(
            f"{program.url}/ocsp",
            content=request.build().public_bytes(Encoding.DER),
            headers={"content-type": "application/ocsp-request"},
        )
        response = ocsp.load_der_ocsp_response(answer.content)
        assert response.response_status is ocsp.OCSPResponseStatus.TRY_LATER
        server.execute(login.format(role, sql.SQL("LOGIN")))
    program.until(program.is_healthy)
    assert logged(program)


def test_settings_that_are_wrong_are_named(program):
    program.settings.write_text(program.settings.read_text() + "surprise = 1\n")
    program.launch()
    assert program.end() == (2, b"")
    [entry] = logged(program)
    assert "surprise" in entry["why"]
    assert program.run("migrate", "--owner-dsn", "postgresql:///") == 2


def test_an_address_that_is_taken_is_named(program, make_program, trust_services_dsns):
    program.start()
    other = make_program(trust_services_dsns[1], "other", port=program.port)
    other.launch()
    assert other.end() == (1, b"")
    assert f"cannot listen on 127.0.0.1:{program.port}" in other.log.read_text()


def test_a_socket_that_is_in_use_is_named(program, make_program, trust_services_dsns):
    program.start()
    other = make_program(trust_services_dsns[1])
    other.launch()
    assert other.end() == (1, b"")
    assert "another process listens on" in other.log.read_text()
