import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from central_registry import publications
from central_registry.publisher import Intervals, Publisher
from central_registry.records import CodeList
from central_registry.store import UNAVAILABLE, Store
from tests.central_registry.simulator import NOW, TAX
from trust.configuration_anchor import ConfigurationAnchor
from trust.global_configuration import verify_configuration
from trust.keys import SoftwareKey
from vocabulary.faults import ConfigurationInvalid, RegistrationInvalid

SECOND = timedelta(seconds=1)
GENERATION = timedelta(seconds=60)


class World:
    """A registry's database, its key and directory, and a clock."""

    def __init__(self, database, directory):
        self.database = database
        self.directory = directory
        self.key = SoftwareKey.generate()
        self.now = NOW
        self.seen = None
        self.stores = []

    @property
    def anchor(self):
        return ConfigurationAnchor("EE", "127.0.0.1:1", (self.key.public_key_info,))

    def store(self):
        self.stores.append(Store(self.database.login_dsn))
        return self.stores[-1]

    def publisher(self, *, name="configuration", store=None, ocsp_freshness_s=3600):
        """Start a registry."""
        return Publisher(
            store=store or self.store(),
            key=self.key,
            anchor=self.anchor,
            path=self.directory / name,
            intervals=Intervals(
                generation=GENERATION,
                validity=10 * GENERATION,
                ocsp_freshness=timedelta(seconds=ocsp_freshness_s),
                ocsp_fetch=20 * GENERATION,
                time_stamping=GENERATION,
            ),
            clock=lambda: self.now,
        )

    def follow(self, publisher):
        """Verify what is served, as a security server that has seen the one before."""
        self.seen = verify_configuration(
            publisher.newest.signed,
            anchor=self.anchor,
            previous=self.seen,
            now=self.now,
        )
        return self.seen

    def superuser(self, postgres, statement):
        store = Store(postgres.superuser_dsn(self.database.name))
        self.stores.append(store)
        with store.writing() as connection:
            connection.execute(text(statement))


@pytest.fixture
def world(database, tmp_path):
    world = World(database, tmp_path)
    yield world
    for store in world.stores:
        store.close()


def register(publisher, member=TAX.member):
    request, _ = publisher.change(lambda m: m.register_member(member, name="Member"))
    return publisher.change(lambda members: members.approve(request.number))


def test_the_first_version_is_published_at_once(world):
    publisher = world.publisher()
    assert not publisher.is_current()
    publisher.publish_if_due()
    configuration = world.follow(publisher)
    assert (configuration.version, configuration.previous_hash) == (1, b"")
    assert configuration.issued_at == NOW
    assert configuration.expires_at == NOW + timedelta(seconds=600)
    assert configuration.time_stamping_interval == timedelta(seconds=60)
    assert publisher.is_current()


def test_a_change_is_in_the_next_version_at_once(world):
    publisher = world.publisher()
    publisher.publish_if_due()
    world.follow(publisher)
    request, version = register(publisher)
    assert request.asked.subject == str(TAX.member)
    configuration = world.follow(publisher)
    assert (configuration.version, version) == (2, 2)
    assert configuration.members[TAX.member].name == "Member"


def test_nothing_new_is_published_before_the_interval_has_passed(world):
    publisher = world.publisher()
    publisher.publish_if_due()
    world.now += GENERATION - SECOND
    publisher.publish_if_due()
    assert world.follow(publisher).version == 1
    world.now += SECOND
    publisher.publish_if_due()
    assert world.follow(publisher).version == 2


def test_a_change_that_fails_publishes_nothing(world):
    publisher = world.publisher()
    publisher.publish_if_due()
    with pytest.raises(RegistrationInvalid):
        publisher.change(lambda m: m.list_code("", in_=CodeList.PURPOSES, name="x"))
    assert world.follow(publisher).version == 1


def test_a_change_that_servers_would_refuse_is_not_made(world, postgres):
    publisher = world.publisher()
    register(publisher)
    world.superuser(postgres, "UPDATE registry.member SET name = ''")
    with pytest.raises(ConfigurationInvalid, match="not a name"):
        publisher.change(lambda m: m.list_code("A", in_=CodeList.PURPOSES, name="x"))
    assert "A" not in world.follow(publisher).purposes
    world.superuser(postgres, "UPDATE registry.member SET name = 'Mended'")
    publisher.change(lambda m: m.list_code("A", in_=CodeList.PURPOSES, name="x"))
    assert "A" in world.follow(publisher).purposes


def test_a_restart_serves_what_was_published_and_goes_on_from_it(world):
    first = world.publisher()
    register(first)
    world.follow(first)
    world.now += 10 * SECOND
    second = world.publisher()
    assert second.newest.signed == first.newest.signed
    second.publish_if_due()
    assert second.newest.signed == first.newest.signed
    world.now += GENERATION
    second.publish_if_due()
    assert world.follow(second).version == first.newest.version + 1


def test_a_restart_with_other_settings_publishes_them_at_once(world):
    first = world.publisher()
    first.publish_if_due()
    second = world.publisher(ocsp_freshness_s=60)
    second.publish_if_due()
    assert world.follow(second).version == 2
    assert world.seen.ocsp_freshness == timedelta(seconds=60)


def test_goes_on_when_only_the_database_is_left(world):
    first = world.publisher()
    register(first)
    world.follow(first)
    (world.directory / "configuration").unlink()
    second = world.publisher()
    assert second.newest is None
    second.publish_if_due()
    assert second.newest.signed == first.newest.signed


def test_goes_on_from_its_file_when_the_database_is_restored(world, postgres):
    publisher = world.publisher()
    register(publisher)
    register(publisher, TAX.member.__class__("EE", "GOV", "1"))
    before = world.follow(publisher).version
    world.superuser(
        postgres,
        """ALTER TABLE registry.published_content DISABLE TRIGGER ALL;
        ALTER TABLE registry.published_configuration DISABLE TRIGGER ALL;
        DELETE FROM registry.published_content WHERE version > 2;
        DELETE FROM registry.published_configuration WHERE version > 2""",
    )
    for restarted in (False, True):
        registry = world.publisher() if restarted else publisher
        registry.publish_if_due()
        assert world.follow(registry).version == before + 1


def test_another_key_goes_on_with_the_numbers(world):
    first = world.publisher()
    register(first)
    world.key = SoftwareKey.generate()
    second = world.publisher()
    assert second.newest is None
    second.publish_if_due()
    assert second.newest.version == first.newest.version + 1
    assert second.newest.previous_hash == first.newest.hash


def test_two_registries_of_one_database_publish_one_history(world):
    one, other = world.publisher(name="one"), world.publisher(name="other")
    one.publish_if_due()
    other.publish_if_due()
    assert other.newest.signed == one.newest.signed
    register(one)
    world.follow(one)
    other.publish_if_due()
    assert other.newest.signed == one.newest.signed
    world.now += GENERATION
    for registry in (one, other):
        registry.publish_if_due()
    assert one.newest.signed == other.newest.signed
    assert world.follow(other).version == other.newest.version


def test_changes_at_once_are_published_one_after_the_other(world):
    publishers = [world.publisher(name=str(number)) for number in range(2)]
    publishers[0].publish_if_due()

    def list_code(number):
        _, version = publishers[number % 2].change(
            lambda m: m.list_code(f"P{number}", in_=CodeList.PURPOSES, name="x")
        )
        return version

    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(list_code, range(12)))
    assert sorted(versions) == list(range(2, 14))
    with world.store().reading() as connection:
        hashes = connection.execute(
            text("SELECT hash, directory FROM registry.published_configuration")
        ).all()
        assert len(publications.newest(connection).parts) == 1
    assert {hashlib.sha256(row.directory).digest() for row in hashes} == {
        bytes(row.hash) for row in hashes
    }
    newest = max(publishers, key=lambda each: each.newest.version)
    assert len(world.follow(newest).purposes) == 12


def test_without_its_database_it_serves_what_it_has(world, tmp_path):
    publisher = world.publisher()
    register(publisher)
    gone = Store(f"postgresql://nobody@/nothing?host={tmp_path}")
    world.stores.append(gone)
    restarted = world.publisher(store=gone)
    with pytest.raises(UNAVAILABLE):
        restarted.publish_if_due()
    assert restarted.newest.signed == publisher.newest.signed
    assert restarted.is_current()
    world.now += timedelta(seconds=600)
    assert not restarted.is_current()


def test_what_cannot_be_kept_is_not_served_and_taken_up_later(world):
    publisher = world.publisher()
    publisher.publish_if_due()
    path = publisher._path
    publisher._path = world.directory / "missing" / "configuration"
    with pytest.raises(FileNotFoundError):
        register(publisher)
    assert publisher.newest.version == 1
    publisher._path = path
    publisher.publish_if_due()
    assert world.follow(publisher).version == 2
