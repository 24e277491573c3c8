"""What a server finds when it looks at itself."""

import asyncio
from types import SimpleNamespace

import pytest

from security_server.administration.finding import (
    certificate_probe,
    configuration_probe,
    ledger_probe,
    system_probe,
    time_stamp_probe,
)
from security_server.registration.registrations import Registrations
from security_server.registration.services import registered_service
from tests.security_server.descriptors import DESCRIPTORS, PERSONS
from tests.security_server.registry import Configuration
from vocabulary.faults import CertificateRevoked, PeerUnreachable

GOOD, REVOKED = (SimpleNamespace(subject=f"CN={name}") for name in ("good", "revoked"))


class Statuses:
    def status(self, certificate):
        if certificate is REVOKED:
            raise CertificateRevoked("by its CA")


async def one(probe):
    (finding,) = await probe()
    # A cure is for what is not well, and only for that.
    assert finding.ok != bool(finding.cure)
    return finding


async def test_the_configuration_is_well_while_it_holds_and_can_be_had():
    configuration = Configuration()
    probe = configuration_probe(configuration)
    found = await one(probe)
    assert found.ok
    assert "version 7" in found.detail
    configuration.last_failure = PeerUnreachable("the registry is away")
    found = await one(probe)
    assert not found.ok
    assert "the registry is away" in found.detail
    configuration.held = None
    assert not (await one(probe)).ok


@pytest.mark.parametrize("reason", [None, "its database is away"])
async def test_the_ledger_and_the_time_stamps_say_for_themselves(reason):
    ledger = await one(ledger_probe(SimpleNamespace(unavailable=reason)))
    stamps = await one(time_stamp_probe(SimpleNamespace(last_failure=reason)))
    for found in (ledger, stamps):
        assert found.ok is (reason is None)
        assert reason is None or found.detail == reason


async def test_each_certificate_is_looked_at():
    found = await certificate_probe(Statuses(), [GOOD, REVOKED])()
    assert [(each.name, each.ok) for each in found] == [
        ("certificate of CN=good", True),
        ("certificate of CN=revoked", False),
    ]


async def test_each_system_is_looked_for_once():
    async def close(_reader, writer):
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    addresses = {"v1": f"127.0.0.1:{port}", "v2": "127.0.0.1:1", "v3": "[::1]:1"}
    services = [
        registered_service(
            type(PERSONS)(PERSONS.provider, "persons", version), address, DESCRIPTORS
        )
        for version, address in addresses.items()
    ]
    async with server:
        found = await system_probe(lambda: Registrations.of(services=services))()
    assert {each.name: each.ok for each in found} == {
        f"system at {address}": version == "v1"
        for version, address in addresses.items()
    }
