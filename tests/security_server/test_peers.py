"""Who is at the other end of a stream, and what becomes of it when that is lost."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

import pytest
from grpc import aio

from messaging.transport import OPTIONS
from protos.v1.exchange_pb2 import Frame, Frames, SignedPart
from protos.v1.exchange_pb2_grpc import ExchangeServiceStub
from tests.pki import REVOKED
from tests.security_server.agencies import asking
from tests.world import POPULATION_SERVER, TAX, TAX_SERVER, Party
from vocabulary.faults import (
    Cancelled,
    CertificateRevoked,
    CertificateUnknown,
    ConfigurationExpired,
    Execution,
    PeerUnreachable,
)


async def test_a_peer_that_is_not_there_is_a_fault_of_its_own(agencies):
    await agencies.population.grpc.stop(None)
    with pytest.raises(PeerUnreachable) as silent:
        await agencies.tax.exchange(asking())
    assert silent.value.execution is Execution.NOT_EXECUTED


async def test_a_peer_that_dies_under_way_leaves_the_outcome_unknown(agencies):
    begun = asyncio.Event()

    async def call(received, timeout_s):
        begun.set()
        await asyncio.Event().wait()

    agencies.population.register.call = call
    waiting = asyncio.create_task(agencies.tax.exchange(asking()))
    await begun.wait()
    await agencies.population.grpc.stop(None)
    with pytest.raises(PeerUnreachable) as lost:
        await waiting
    assert lost.value.execution is Execution.UNKNOWN


async def test_a_peers_restart_is_met_by_a_new_stream(agencies):
    await agencies.tax.exchange(asking())
    port = int(agencies.registry.held.servers[POPULATION_SERVER].address.split(":")[1])
    await agencies.population.stop()
    client = None
    await agencies.population.start(
        agencies.registry, agencies.directory / "again", client, port
    )
    async with asyncio.timeout(10):
        while True:
            with suppress(PeerUnreachable):
                await agencies.tax.exchange(asking())
                break


async def test_evidence_that_a_peer_has_forgotten_is_sent_again(agencies):
    await agencies.tax.exchange(asking())
    forgotten = agencies.population.assembled.exchange._signers
    forgotten._held.clear()
    forgotten._judged.clear()
    assert await agencies.tax.exchange(asking())


async def test_nobody_signs_with_a_revoked_certificate(agencies):
    agencies.tax.learn(agencies.tax.party.signing.certificate, REVOKED)
    with pytest.raises(CertificateRevoked) as refused:
        await agencies.tax.exchange(asking())
    assert refused.value.execution is Execution.NOT_EXECUTED


async def test_a_revoked_server_is_refused_in_the_middle_of_a_stream(agencies):
    await agencies.tax.exchange(asking())
    agencies.population.learn(agencies.tax.party.authentication.certificate, REVOKED)
    with pytest.raises(CertificateRevoked) as refused:
        await agencies.tax.exchange(asking())
    assert refused.value.origin == POPULATION_SERVER
    assert agencies.population.register.calls == 1
    # And at once when it comes again.
    with pytest.raises(CertificateRevoked) as refused:
        await agencies.tax.exchange(asking())
    assert refused.value.execution is Execution.UNKNOWN or refused.value.origin


async def test_a_server_whose_certificate_is_not_registered_is_refused(agencies):
    stranger = Party(agencies.pki, TAX.member, TAX_SERVER)
    agencies.tax.party.authentication_key = stranger.authentication_key
    agencies.tax.party.authentication = stranger.authentication
    await agencies.tax.stop()
    await agencies.tax.start(agencies.registry, agencies.directory / "again", None)
    with pytest.raises(CertificateUnknown) as refused:
        await agencies.tax.exchange(asking())
    assert refused.value.origin == POPULATION_SERVER
    assert agencies.population.ledger.records == []


async def test_another_servers_address_reaches_nobody_else(agencies):
    """The channel pins the registered certificate: a sibling's own is not enough."""
    servers = dict(agencies.registry.held.servers)
    sibling = Party(agencies.pki, POPULATION_SERVER.owner, POPULATION_SERVER)
    servers[POPULATION_SERVER] = replace(
        servers[POPULATION_SERVER],
        authentication_certificates=(sibling.authentication.certificate,),
    )
    agencies.registry.change(servers=MappingProxyType(servers))
    with pytest.raises(PeerUnreachable) as refused:
        await agencies.tax.exchange(asking())
    assert refused.value.execution is Execution.NOT_EXECUTED


async def test_an_expired_configuration_stops_both_sides(agencies):
    agencies.registry.expired = True
    with pytest.raises(ConfigurationExpired) as refused:
        await agencies.tax.exchange(asking())
    assert refused.value.execution is Execution.NOT_EXECUTED


async def test_a_part_before_hello_ends_the_stream(agencies):
    target = agencies.registry.held.servers[POPULATION_SERVER]
    credentials = agencies.tax.keys().tls.channel_credentials(
        target.authentication_certificates
    )
    options = (
        *OPTIONS,
        ("grpc.ssl_target_name_override", POPULATION_SERVER.host_name),
    )
    async with aio.secure_channel(target.address, credentials, options) as channel:
        stream = ExchangeServiceStub(channel).Exchange()
        frame = Frame(exchange_id=7, part=SignedPart())
        await stream.write(Frames(frames=[frame]))
        with pytest.raises(aio.AioRpcError) as ended:
            await stream.read()
    assert "FRAME_UNEXPECTED" in ended.value.details()


async def test_no_client_certificate_no_stream(agencies):
    address = agencies.registry.held.servers[POPULATION_SERVER].address
    async with aio.insecure_channel(address) as channel:
        stream = ExchangeServiceStub(channel).Exchange(timeout=5)
        with pytest.raises(aio.AioRpcError):
            await stream.read()


async def test_a_server_that_stops_first_answers_what_is_under_way(agencies):
    begun, go_on = asyncio.Event(), asyncio.Event()
    register = agencies.population.register

    async def call(received, timeout_s):
        begun.set()
        await go_on.wait()
        return register.answer

    register.call = call
    waiting = asyncio.create_task(agencies.tax.exchange(asking()))
    await begun.wait()
    stopping = asyncio.create_task(agencies.population.assembled.exchange.stop(30))
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert (await waiting).response == register.answer
    assert agencies.population.ledger.kinds == ["REQUEST_RECEIVED", "RESPONSE_SENT"]


async def test_what_outlasts_the_grace_is_cancelled_and_recorded(agencies):
    begun = asyncio.Event()

    async def call(received, timeout_s):
        begun.set()
        await asyncio.Event().wait()

    agencies.population.register.call = call
    waiting = asyncio.create_task(agencies.tax.exchange(asking()))
    await begun.wait()
    await agencies.population.assembled.exchange.stop(0.05)
    with pytest.raises(Cancelled) as cut_off:
        await waiting
    assert cut_off.value.execution is Execution.UNKNOWN
    assert agencies.population.ledger.kinds == ["REQUEST_RECEIVED", "RESPONSE_FAILED"]


async def test_an_idle_stream_ends_at_once_and_is_opened_again(agencies):
    await agencies.tax.exchange(asking())
    async with asyncio.timeout(5):
        await agencies.population.assembled.exchange.stop(60)
    async with asyncio.timeout(10):
        while True:
            with suppress(PeerUnreachable):
                await agencies.tax.exchange(asking())
                break
