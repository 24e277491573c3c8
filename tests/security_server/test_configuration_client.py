import asyncio
import contextlib
import errno
from datetime import timedelta

import pytest
from grpc import aio

from protos.v1 import configuration_pb2 as pb
from protos.v1 import configuration_pb2_grpc
from security_server import configuration_client
from security_server.configuration_client import ConfigurationClient
from tests.central_registry.simulator import NOW, GoverningAuthority
from vocabulary.faults import (
    ConfigurationExpired,
    ConfigurationInvalid,
    ConfigurationRolledBack,
    PeerUnreachable,
)


class Registry(configuration_pb2_grpc.GlobalConfigurationServiceServicer):
    """Answers with whatever bytes it is told to."""

    def __init__(self):
        self.answer = b""

    async def GetGlobalConfiguration(self, _request, _context):  # noqa: N802 - the .proto
        configuration = pb.SignedConfiguration.FromString(self.answer)
        return pb.GetGlobalConfigurationResponse(configuration=configuration)


class World:
    """An authority, its registry on a port, and a security server that asks it."""

    def __init__(self, path, address, registry):
        self.path = path
        self.now = NOW
        self.authority = GoverningAuthority(address=address)
        self.registry = registry
        self.clients = []

    def clock(self):
        return self.now

    def publish(self, **changed):
        self.registry.answer = self.authority.publish(at=self.now, **changed)
        return self.registry.answer

    def client(self, **options):
        options.setdefault("poll_interval", timedelta(milliseconds=5))
        client = ConfigurationClient(
            self.authority.anchor, self.path, self.clock, **options
        )
        self.clients.append(client)
        return client


@pytest.fixture
async def server():
    registry, server = Registry(), aio.server()
    configuration_pb2_grpc.add_GlobalConfigurationServiceServicer_to_server(
        registry, server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield registry, f"127.0.0.1:{port}", server
    await server.stop(None)


@pytest.fixture
async def world(server, tmp_path):
    registry, address, _ = server
    world = World(tmp_path / "configuration", address, registry)
    yield world
    for client in world.clients:
        await client.close()


@contextlib.asynccontextmanager
async def running(client):
    task = asyncio.create_task(client.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_holds_what_the_registry_published(world):
    signed = world.publish()
    client = world.client()
    configuration = await client.refresh()
    assert client.current() is configuration
    assert configuration.signed == signed
    assert client.last_failure is None
    assert client.last_success == NOW


async def test_has_none_before_the_first(world):
    with pytest.raises(ConfigurationExpired, match="was ever received"):
        world.client().current()


async def test_follows_the_registry(world):
    world.publish()
    client = world.client()
    async with running(client):
        assert (await client.newer_than(0)).version == 1
        world.publish()
        assert (await client.newer_than(1)).version == 2
        assert client.current().version == 2


async def test_the_same_configuration_again_changes_nothing(world):
    world.publish()
    client = world.client()
    first = await client.refresh()
    written = world.path.stat().st_mtime_ns, world.path.stat().st_ino
    assert await client.refresh() is first
    assert (world.path.stat().st_mtime_ns, world.path.stat().st_ino) == written


async def test_a_restart_keeps_the_last_good_one(world, server):
    world.publish()
    held = await world.client().refresh()
    await server[2].stop(None)
    client = world.client()
    assert client.current().signed == held.signed
    with pytest.raises(PeerUnreachable, match="gave no configuration"):
        await client.refresh()
    assert client.current().version == held.version
    assert isinstance(client.last_failure, PeerUnreachable)


@pytest.mark.parametrize("restarted", [False, True])
async def test_refuses_a_rollback_also_after_a_restart(world, restarted):
    old = world.publish()
    world.publish()
    client = world.client()
    await client.refresh()
    if restarted:
        client = world.client()
    world.registry.answer = old
    with pytest.raises(ConfigurationRolledBack):
        await client.refresh()
    assert client.current().version == 2
    assert isinstance(client.last_failure, ConfigurationRolledBack)


async def test_an_expired_copy_is_given_to_nobody_but_protects(world):
    old = world.publish()
    world.publish()
    await world.client().refresh()
    world.now += timedelta(hours=1)
    client = world.client()
    with pytest.raises(ConfigurationExpired, match="2 of EE expired"):
        client.current()
    # The old one under a new date would be a fork; the old one itself a rollback.
    world.registry.answer = old
    with pytest.raises(ConfigurationRolledBack):
        await client.refresh()
    world.publish()
    assert (await client.refresh()).version == 3


async def test_a_registry_that_freezes_is_noticed(world):
    world.publish()
    client = world.client()
    await client.refresh()
    world.now += timedelta(seconds=600)
    with pytest.raises(ConfigurationExpired):
        await client.refresh()
    with pytest.raises(ConfigurationExpired):
        client.current()


@pytest.mark.parametrize("forged", [b"", GoverningAuthority().publish()])
async def test_what_does_not_verify_is_not_held(world, forged):
    world.publish()
    client = world.client()
    held = await client.refresh()
    kept = world.path.read_bytes()
    world.registry.answer = forged
    with pytest.raises(ConfigurationInvalid):
        await client.refresh()
    assert client.current() is held
    assert world.path.read_bytes() == kept


@pytest.mark.parametrize("spoilt", [b"", b"torn", GoverningAuthority().publish()])
async def test_a_spoilt_copy_is_no_configuration(world, spoilt):
    world.publish()
    world.path.write_bytes(spoilt)
    client = world.client()
    assert isinstance(client.last_failure, ConfigurationInvalid)
    with pytest.raises(ConfigurationExpired, match="was ever received"):
        client.current()
    assert (await client.refresh()).version == 1
    assert client.last_failure is None


async def test_what_cannot_be_kept_is_not_used(world, monkeypatch):
    world.publish()
    client = world.client()
    held = await client.refresh()

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(configuration_client, "replace_file", full)
    world.publish()
    with pytest.raises(OSError, match="no space left"):
        await client.refresh()
    assert client.current() is held


async def test_goes_on_asking_when_the_registry_is_away(world, server):
    registry, address, first = server
    await first.stop(None)
    client = world.client()
    with pytest.raises(PeerUnreachable):
        await client.refresh()
    async with running(client):
        second = aio.server()
        configuration_pb2_grpc.add_GlobalConfigurationServiceServicer_to_server(
            registry, second
        )
        second.add_insecure_port(address)
        world.publish()
        await second.start()
        assert (await client.newer_than(0)).version == 1
        await second.stop(None)
