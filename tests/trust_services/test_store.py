"""What was issued is kept, revoked once, and out of the service's own reach."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.pki import Pki
from trust.keys import SoftwareKey
from trust_services.store import Store, migrate
from vocabulary.faults import CertificateUnknown
from vocabulary.identifiers import MemberId

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PKI = Pki(lambda: AT)
TAX = MemberId.parse("EE-SANDBOX/GOV/70000349")


@pytest.fixture
def store(trust_services_dsns):
    with closing(Store(trust_services_dsns[1])) as store:
        yield store


def issued():
    request = SoftwareKey.generate().signing_request("X")
    return PKI.ca.issue(request, TAX, "The tax board")


def test_a_certificate_is_kept_as_it_was_issued(store):
    one, other = issued(), issued()
    store.add(one)
    store.add(other)
    assert store.find(one.serial) == one
    assert store.all()[-2:] == [one, other]
    assert store.find(issued().serial) is None


def test_a_revocation_is_for_good(store):
    one = issued()
    store.add(one)
    serial = f"{one.serial:x}"
    revoked = store.revoke(serial, AT)
    assert revoked.revoked_at == AT
    assert store.revoke(serial, AT + timedelta(days=1)) == revoked
    assert store.find(one.serial) == revoked


@pytest.mark.parametrize("serial", ["", "1", "no number", "f" * 400, "'"])
def test_what_was_never_issued_cannot_be_revoked(store, serial):
    with pytest.raises(CertificateUnknown, match="list of certificates"):
        store.revoke(serial, AT)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM authority.certificate",
        "TRUNCATE authority.certificate",
        "UPDATE authority.certificate SET der = ''",
        "UPDATE authority.certificate SET serial = '0'",
        "ALTER TABLE authority.certificate DISABLE TRIGGER ALL",
        "DROP TABLE authority.certificate",
        "DROP SCHEMA authority CASCADE",
        "CREATE TABLE authority.other (a int)",
        "UPDATE authority.alembic_version SET version_num = '0'",
    ],
)
def test_the_service_can_neither_change_nor_remove(trust_services_dsns, statement):
    with (
        closing(psycopg.connect(trust_services_dsns[1])) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_the_service_owns_nothing(trust_services_dsns):
    with closing(psycopg.connect(trust_services_dsns[1])) as connection:
        owned = connection.execute(
            "SELECT relname FROM pg_class"
            " WHERE pg_get_userbyid(relowner) = current_user"
        )
        assert owned.fetchall() == []


def test_a_migration_keeps_what_there_is(store, trust_services_dsns):
    one = issued()
    store.add(one)
    migrate(trust_services_dsns[0], login="trust_services")
    assert store.find(one.serial) == one
