import asyncio
import signal
import stat
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pytest
from grpc import StatusCode

from messaging.wire.identifiers import member_to_pb, server_to_pb, subsystem_to_pb
from protos.v1 import configuration_pb2, configuration_pb2_grpc
from protos.v1 import registry_pb2 as pb
from protos.v1.registry_pb2_grpc import RegistryServiceStub
from tests.central_registry.certificates import Issuer, new_checkpoint_key
from tests.central_registry.conftest import make_database
from tests.central_registry.process import (
    DEADLINE_S,
    NOT_SERVING,
    OPERATORS,
    PUBLIC,
    SERVING,
    Registry,
    client_of,
    ended,
    refused,
    services,
    until_health,
)
from tests.central_registry.simulator import TAX, TAX_SERVER
from vocabulary.clock import utc_now
from vocabulary.faults import (
    AlreadyRegistered,
    ConfigurationExpired,
    RegistrationInvalid,
    RequestUnknown,
)
from vocabulary.identifiers import MemberId


@pytest.fixture
async def registry(postgres):
    # Short: a path of a Unix socket has 107 octets at most.
    with tempfile.TemporaryDirectory(prefix="ristmik-") as directory:
        registry = Registry(Path(directory), make_database(postgres), postgres)
        yield registry


async def test_register_approve_fetch(registry):
    await registry.migrate()
    async with registry.running():
        await until_health(registry.operators(), SERVING, OPERATORS)
        await until_health(registry.public(), SERVING, PUBLIC)
        stub = RegistryServiceStub(registry.operators())
        issuer = Issuer(clock=utc_now)
        client = client_of(registry)

        ca = configuration_pb2.ApprovedAuthority(
            name="CA", certificate=issuer.certificate, url="http://ca/ocsp"
        )
        kind = pb.AUTHORITY_KIND_CERTIFICATION
        await stub.ApproveAuthority(pb.ApproveAuthorityRequest(kind=kind, authority=ca))
        code = configuration_pb2.ListedCode(code="TAX", name="Assessment")
        listed = pb.ListCodeRequest(list=pb.CODE_LIST_PURPOSES, code=code)
        version = (await stub.ListCode(listed)).configuration_version
        assert (await stub.ListCode(listed)).configuration_version == version

        for call, request in registrations(stub, issuer):
            asked = (await call(request)).request
            assert asked.state == pb.REGISTRATION_STATE_WAITING
            waiting = await stub.ListRequests(pb.ListRequestsRequest())
            assert [each.number for each in waiting.requests] == [asked.number]
            before = time.monotonic()
            approved = await stub.ApproveRequest(
                pb.ApproveRequestRequest(number=asked.number)
            )
            configuration = await client.refresh()
            assert time.monotonic() - before < 1
            assert configuration.version == approved.configuration_version
        await client.close()
        configuration.require_registered(TAX, on=TAX_SERVER)
        (server,) = configuration.servers_of(TAX)
        assert (server.id, server.address) == (TAX_SERVER, "127.0.0.1:5500")
        assert configuration.purposes == {"TAX": "Assessment"}
        members = (await stub.ListMembers(pb.ListMembersRequest())).members
        servers = (await stub.ListServers(pb.ListServersRequest())).servers
        assert [member.name for member in members] == ["Tax Board"]
        assert [server.id for server in servers] == [server_to_pb(TAX_SERVER)]
        everything = await stub.ListRequests(pb.ListRequestsRequest(all=True))
        assert len(everything.requests) == 3


def registrations(stub, issuer):
    yield (
        stub.RegisterMember,
        pb.RegisterMemberRequest(id=member_to_pb(TAX.member), name="Tax Board"),
    )
    yield (
        stub.RegisterServer,
        pb.RegisterServerRequest(
            id=server_to_pb(TAX_SERVER),
            address="127.0.0.1:5500",
            authentication_certificate=issuer.issue(TAX_SERVER),
            checkpoint_key=new_checkpoint_key(TAX_SERVER),
        ),
    )
    yield (
        stub.RegisterSubsystem,
        pb.RegisterSubsystemRequest(
            id=subsystem_to_pb(TAX), server=server_to_pb(TAX_SERVER)
        ),
    )


async def test_refusals_name_the_fault(registry):
    await registry.migrate()
    async with registry.running():
        await until_health(registry.operators(), SERVING)
        stub = RegistryServiceStub(registry.operators())
        member = pb.RegisterMemberRequest(id=member_to_pb(TAX.member), name="Tax")
        asked = (await stub.RegisterMember(member)).request

        status, fault = await refused(stub.RegisterMember(member))
        assert (status, type(fault)) == (StatusCode.ALREADY_EXISTS, AlreadyRegistered)
        for request in (
            pb.RegisterMemberRequest(name="no identifier"),
            pb.RegisterMemberRequest(id=member_to_pb(MemberId("FI", "GOV", "1"))),
        ):
            status, fault = await refused(stub.RegisterMember(request))
            assert status is StatusCode.INVALID_ARGUMENT
            assert isinstance(fault, RegistrationInvalid)
        for call in (
            stub.ApproveAuthority(pb.ApproveAuthorityRequest()),
            stub.ListCode(pb.ListCodeRequest()),
        ):
            _, fault = await refused(call)
            assert isinstance(fault, RegistrationInvalid)
        rejection = pb.RejectRequestRequest(number=asked.number, reason="not public")
        rejected = (await stub.RejectRequest(rejection)).request
        assert rejected.state == pb.REGISTRATION_STATE_REJECTED
        assert rejected.reason == "not public"
        for number in (asked.number, asked.number + 1, (1 << 64) - 1):
            approval = pb.ApproveRequestRequest(number=number)
            status, fault = await refused(stub.ApproveRequest(approval))
            assert (status, type(fault)) == (StatusCode.NOT_FOUND, RequestUnknown)


async def test_only_the_operator_reaches_the_registry(registry):
    await registry.migrate()
    async with registry.running():
        await until_health(registry.operators(), SERVING)
        health = {"grpc.health.v1.Health"}
        reflection = {"grpc.reflection.v1alpha.ServerReflection"}
        assert await services(registry.public()) == {PUBLIC} | health | reflection
        assert await services(registry.operators()) == {OPERATORS} | health | reflection
        stub = RegistryServiceStub(registry.public())
        status, _ = await refused(stub.ListMembers(pb.ListMembersRequest()))
        assert status is StatusCode.UNIMPLEMENTED
        state = registry.directory / "state"
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in (registry.socket, state, state / "configuration.key")
        }
        assert modes == {"registry.sock": 0o600, "state": 0o700} | {
            "configuration.key": 0o600
        }
        assert "PRIVATE KEY" not in (state / "anchor.json").read_text()


async def test_versions_grow_over_stops_and_kills(registry):
    await registry.migrate()
    seen = []
    for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        async with registry.running() as process:
            await until_health(registry.public(), SERVING)
            client = client_of(registry)
            if seen:
                assert client.current().version == seen[-1]
            stub = RegistryServiceStub(registry.operators())
            code = configuration_pb2.ListedCode(code=f"P{len(seen)}", name="x")
            await stub.ListCode(
                pb.ListCodeRequest(list=pb.CODE_LIST_PURPOSES, code=code)
            )
            seen.append((await client.refresh()).version)
            await client.close()
            process.send_signal(end)
            assert await ended(process) == (0 if end == signal.SIGTERM else -end)
    assert seen == [2, 3, 4]


async def test_goes_on_without_its_database_and_recovers(registry):
    await registry.migrate()
    async with registry.running():
        await until_health(registry.operators(), SERVING)
        client = client_of(registry)
        before = await client.refresh()
        registry.allow_connections(allowed=False)
        await until_health(registry.operators(), NOT_SERVING, OPERATORS)
        stub = RegistryServiceStub(registry.operators())
        status, fault = await refused(stub.ListMembers(pb.ListMembersRequest()))
        assert (status, fault) == (StatusCode.UNAVAILABLE, None)
        assert (await client.refresh()).signed == before.signed
        await until_health(registry.public(), SERVING, PUBLIC)
    # Also when it is started then.
    async with registry.running():
        await until_health(registry.operators(), NOT_SERVING)
        restarted = client_of(registry)
        assert (await restarted.refresh()).signed == before.signed
        registry.allow_connections(allowed=True)
        await until_health(registry.operators(), SERVING)
        stub = RegistryServiceStub(registry.operators())
        await stub.ListMembers(pb.ListMembersRequest())
        await restarted.close()
        await client.close()


async def test_waits_for_its_database_to_be_migrated(registry):
    async with registry.running():
        await until_health(registry.operators(), NOT_SERVING)
        public = configuration_pb2_grpc.GlobalConfigurationServiceStub(
            registry.public()
        )
        request = configuration_pb2.GetGlobalConfigurationRequest()
        status, _ = await refused(public.GetGlobalConfiguration(request))
        assert status is StatusCode.UNAVAILABLE
        with pytest.raises(ConfigurationExpired):
            client_of(registry).current()
        await registry.migrate()
        await until_health(registry.operators(), SERVING)
        await until_health(registry.public(), SERVING)


async def test_publishes_by_itself_each_interval(registry):
    registry.write_settings(generation_interval_s=1, validity_s=5)
    await registry.migrate()
    async with registry.running():
        client = client_of(registry, poll_interval=timedelta(milliseconds=50))
        await until_health(registry.public(), SERVING)
        first = (await client.refresh()).version
        async with asyncio.timeout(DEADLINE_S):
            task = asyncio.create_task(client.run())
            assert (await client.newer_than(first + 1)).version > first + 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_refuses_unknown_settings(registry):
    registry.write_settings(unknown_key="x")
    assert await ended(await registry.start()) == 2
    assert "unknown_key" in registry.log.read_text()


async def test_refuses_an_address_that_is_taken(registry):
    async with registry.running():
        port = registry.anchor.address.rpartition(":")[2]
        registry.write_settings(
            listen=f"127.0.0.1:{port}",
            directory=str(registry.directory / "second"),
            admin_socket=str(registry.directory / "second.sock"),
        )
        assert await ended(await registry.start()) == 1
        assert f"cannot listen on 127.0.0.1:{port}" in registry.log.read_text()
