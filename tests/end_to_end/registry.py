"""A registry of the tests' own, on the port of the real one, that serves anything."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from protos.v1 import administration_pb2, identifier_pb2
from protos.v1 import configuration_pb2 as pb
from protos.v1.administration_pb2_grpc import AdministrationServiceStub
from protos.v1.configuration_pb2_grpc import (
    GlobalConfigurationServiceServicer,
    GlobalConfigurationServiceStub,
    add_GlobalConfigurationServiceServicer_to_server,
)
from tests.end_to_end.instance import CODES, Instance
from tests.end_to_end.waiting import until
from trust.configuration_anchor import CONFIGURATION_TYPE
from trust.keys import SoftwareKey
from vocabulary.clock import utc_now
from vocabulary.pae import pae


class Authority:
    """Signs configurations that differ from a genuine one, with the genuine key."""

    def __init__(self, instance: Instance) -> None:
        self.key = SoftwareKey.load(
            instance.directory / "central-registry" / "configuration.key"
        )
        address = instance.document["registry"]["address"]
        with grpc.insecure_channel(address) as channel:
            stub = GlobalConfigurationServiceStub(channel)
            answer = stub.GetGlobalConfiguration(
                pb.GetGlobalConfigurationRequest(), timeout=10
            )
        self.genuine = answer.configuration

    @property
    def version(self) -> int:
        return directory_of(self.genuine).version

    def next_one(
        self,
        after: pb.SignedConfiguration,
        *,
        lasts: timedelta = timedelta(minutes=10),
        key: SoftwareKey | None = None,
    ) -> pb.SignedConfiguration:
        """Sign what would rightly follow `after`, but for how long it lasts, or who."""
        directory = directory_of(after)
        directory.version += 1
        directory.previous_hash = hashlib.sha256(after.directory).digest()
        now = utc_now()
        # One that has expired was issued before that.
        directory.issued_at.FromDatetime(min(now, now + lasts - timedelta(seconds=1)))
        directory.expires_at.FromDatetime(now + lasts)
        return self.signed(directory, after, key=key)

    def signed(
        self,
        directory: pb.ConfigurationDirectory,
        of: pb.SignedConfiguration,
        *,
        key: SoftwareKey | None = None,
    ) -> pb.SignedConfiguration:
        key = key or self.key
        octets = directory.SerializeToString()
        return pb.SignedConfiguration(
            directory=octets,
            signature=key.sign(pae(CONFIGURATION_TYPE, octets)),
            signer=hashlib.sha256(key.public_key_info).digest(),
            parts=of.parts,
        )


class FalseRegistry(GlobalConfigurationServiceServicer):
    """Serves the `configuration` that it is given."""

    def __init__(
        self, instance: Instance, configuration: pb.SignedConfiguration
    ) -> None:
        self._instance = instance
        self.configuration = configuration
        self.served = 0
        self._peers: set[str] = set()

    def GetGlobalConfiguration(  # noqa: N802 - as in the .proto
        self, request: pb.GetGlobalConfigurationRequest, context: Any
    ) -> pb.GetGlobalConfigurationResponse:
        self._peers.add(context.peer())
        self.served += 1
        return pb.GetGlobalConfigurationResponse(configuration=self.configuration)

    def until_known(self) -> None:
        """Wait until every server has found this registry."""
        until(lambda: len(self._peers) >= len(CODES), "the servers ask this registry")

    def serve(self, configuration: pb.SignedConfiguration) -> None:
        """Serve another one, and have every server fetch it."""
        self.configuration = configuration
        for code in CODES:
            before = self.served
            have_fetched(self._instance, code)
            assert self.served > before


def have_fetched(instance: Instance, code: str) -> None:
    """Have a server look at the newest configuration, now.

    It does when somebody it does not know is to offer a service, before it refuses.
    """
    instance_code, member_class, member_code = instance.server(code).member.split("/")
    stranger = identifier_pb2.SubsystemId(
        member=identifier_pb2.MemberId(
            instance=instance_code, member_class=member_class, member_code=member_code
        ),
        subsystem_code="stranger",
    )
    service = identifier_pb2.ServiceId(
        provider=stranger, service_code="x", service_version="v1"
    )
    request = administration_pb2.AddServiceRequest(
        service=service, address="127.0.0.1:1"
    )
    with (
        grpc.insecure_channel(instance.server(code).admin) as channel,
        pytest.raises(grpc.RpcError),
    ):
        AdministrationServiceStub(channel).AddService(request, timeout=20)


@contextmanager
def false_registry(
    instance: Instance, configuration: pb.SignedConfiguration
) -> Iterator[FalseRegistry]:
    """Take the place of an instance's registry; for `up --keep-going`."""
    address = instance.document["registry"]["address"]
    instance.end("central-registry")
    registry = FalseRegistry(instance, configuration)
    options = (("grpc.so_reuseport", 0),)
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=options)
    add_GlobalConfigurationServiceServicer_to_server(registry, server)
    assert server.add_insecure_port(address)
    server.start()
    try:
        registry.until_known()
        yield registry
    finally:
        server.stop(0).wait()


def directory_of(signed: pb.SignedConfiguration) -> pb.ConfigurationDirectory:
    return pb.ConfigurationDirectory.FromString(signed.directory)


def expiry(signed: pb.SignedConfiguration) -> datetime:
    return directory_of(signed).expires_at.ToDatetime(tzinfo=UTC)
