"""Registrations in PostgreSQL: kept, in force at once, and there without it."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest

from security_server.registration.registrations import AccessRight, LocalClient
from security_server.registration.services import registered_service
from security_server.registration.store import RegistrationStore, migrate
from tests.security_server.databases import LOGIN, emptied, migrated
from tests.security_server.descriptors import (
    DESCRIPTORS,
    GET,
    LIST,
    PERSONS,
    POPULATION,
    TAX,
    file,
    file_set,
)
from tests.security_server.waiting import until
from vocabulary.faults import (
    AccessDenied,
    ClientUnknown,
    LedgerUnavailable,
    MethodUnknown,
    RightUnknown,
    ServiceUnknown,
)
from vocabulary.identifiers import ServiceId

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = ServiceId(POPULATION, "persons", "v2")


def persons(descriptors=DESCRIPTORS, **changed):
    subjects = {
        "personal": True,
        "request_subjects": ["GetRequest.code"],
        "response_subjects": ["Person.code"],
    }
    return registered_service(
        PERSONS, "127.0.0.1:9000", descriptors, **(subjects | changed)
    )


@pytest.fixture(scope="module")
def dsns(postgres):
    owner, login = migrated(postgres, "local_store")
    # Again: nothing is left to be done.
    migrate(owner, login=LOGIN)
    return owner, login


@pytest.fixture
def dsn(dsns):
    owner, login = dsns
    emptied(owner)
    return login


@pytest.fixture
async def store(dsn):
    opened = RegistrationStore(dsn, lambda: NOW)
    await opened.load()
    yield opened
    await opened.close()


async def reopened(dsn):
    store = RegistrationStore(dsn, lambda: NOW)
    await store.load()
    await store.close()
    return store


async def test_what_was_registered_is_in_force_at_once_and_after_a_restart(store, dsn):
    await store.set_client(LocalClient(TAX, plaintext_loopback=True))
    await store.add_service(persons())
    await store.grant(AccessRight(PERSONS, TAX))
    for each in (store, await reopened(dsn)):
        each.require_client(TAX, plaintext=True)
        each.require_right(TAX, PERSONS, GET)
        service = each.service(PERSONS)
        assert (service.address, service.personal) == ("127.0.0.1:9000", True)
        assert service.description.descriptors == DESCRIPTORS
        assert service.description.request_selectors == ("GetRequest.code",)
        assert service.description.response_selectors == ("Person.code",)


async def test_a_service_is_replaced_and_keeps_the_rights_that_still_mean_something(
    store,
):
    await store.add_service(persons())
    await store.grant(AccessRight(PERSONS, TAX))
    await store.grant(AccessRight(PERSONS, TAX, GET))
    await store.grant(AccessRight(PERSONS, TAX, LIST))
    other = """name: "persons/v1/persons.proto" package: "persons.v1"
        message_type { name: "Q" }
        service { name: "Persons" method { name: "Get" input_type: ".persons.v1.Q"
                  output_type: ".persons.v1.Q" } }"""
    plain = {"personal": False, "request_subjects": [], "response_subjects": []}
    await store.add_service(persons(file_set(file(other)), **plain))
    assert not store.service(PERSONS).personal
    assert store.current().rights == {
        AccessRight(PERSONS, TAX),
        AccessRight(PERSONS, TAX, GET),
    }


async def test_a_removed_service_takes_its_rights_along(store):
    await store.add_service(persons())
    await store.grant(AccessRight(PERSONS, TAX))
    await store.remove_service(PERSONS)
    with pytest.raises(ServiceUnknown):
        store.service(PERSONS)
    await store.add_service(persons())
    with pytest.raises(AccessDenied):
        store.require_right(TAX, PERSONS, GET)


async def test_rights_are_granted_once_and_revoked_one_by_one(store):
    await store.add_service(persons())
    for right in (AccessRight(PERSONS, TAX), AccessRight(PERSONS, TAX, GET)):
        await store.grant(right)
        await store.grant(right)
    assert len(store.current().rights) == 2
    await store.revoke(AccessRight(PERSONS, TAX))
    store.require_right(TAX, PERSONS, GET)
    with pytest.raises(AccessDenied):
        store.require_right(TAX, PERSONS, LIST)
    with pytest.raises(RightUnknown):
        await store.revoke(AccessRight(PERSONS, TAX))


async def test_what_is_not_there_cannot_be_granted_or_removed(store):
    with pytest.raises(ServiceUnknown):
        await store.grant(AccessRight(PERSONS, TAX))
    with pytest.raises(ServiceUnknown):
        await store.remove_service(PERSONS)
    await store.add_service(persons())
    with pytest.raises(MethodUnknown):
        await store.grant(AccessRight(PERSONS, TAX, "persons.v1.Persons/Put"))
    with pytest.raises(ServiceUnknown):
        await store.grant(AccessRight(OTHER, TAX))
    assert not store.current().rights


async def test_a_client_is_changed(store):
    await store.set_client(LocalClient(TAX, plaintext_loopback=True))
    await store.set_client(LocalClient(TAX, plaintext_loopback=False))
    with pytest.raises(ClientUnknown):
        store.require_client(TAX, plaintext=True)
    store.require_client(TAX, plaintext=False)


async def test_changes_that_meet_are_all_there(store):
    await store.add_service(persons())
    clients = [type(TAX)(TAX.member, f"tax{number}") for number in range(20)]
    await asyncio.gather(
        *(store.grant(AccessRight(PERSONS, client)) for client in clients)
    )
    assert {right.client for right in store.current().rights} == set(clients)


async def test_a_change_by_another_server_of_the_cluster_arrives(store, dsn):
    follower = RegistrationStore(dsn, lambda: NOW)
    await follower.load()
    following = asyncio.create_task(follower.run())
    await store.set_client(LocalClient(TAX, plaintext_loopback=True))
    await until(lambda: TAX in follower.current().clients, seconds=2)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await follower.close()


async def test_the_login_owns_nothing_and_cannot_change_tables(dsn):
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        query = "SELECT count(*) FROM pg_class WHERE relowner = %s::regrole"
        assert connection.execute(query, [LOGIN]).fetchone() == (0,)
        for statement in (
            "DROP TABLE server.service",
            "ALTER TABLE server.change ADD other int",
            "DELETE FROM server.change",
            "CREATE TABLE server.mine ()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


async def test_without_the_database_the_last_snapshot_stays_and_changes_are_refused(
    postgres,
):
    name = "local_away"
    _, dsn = migrated(postgres, name)
    store = RegistrationStore(dsn, lambda: NOW)
    await store.set_client(LocalClient(TAX, plaintext_loopback=True))
    with closing(psycopg.connect(postgres.superuser_dsn(), autocommit=True)) as server:
        (database,) = server.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{name}%"]
        ).fetchone()
        server.execute(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false')
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [database],
        )
        with pytest.raises(LedgerUnavailable, match="repeat"):
            await store.set_client(LocalClient(TAX, plaintext_loopback=False))
        with pytest.raises(LedgerUnavailable):
            await store.load()
        store.require_client(TAX, plaintext=True)
        server.execute(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')
    await store.set_client(LocalClient(TAX, plaintext_loopback=False))
    with pytest.raises(ClientUnknown):
        store.require_client(TAX, plaintext=True)
    await store.close()
