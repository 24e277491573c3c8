"""A registry of the tests' own, on the port of the real one, that serves anything."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc

from protos.v1 import configuration_pb2 as pb
from protos.v1.configuration_pb2_grpc import (
    GlobalConfigurationServiceServicer,
    GlobalConfigurationServiceStub,
    add_GlobalConfigurationServiceServicer_to_server,
)
from tests.end_to_end.instance import Instance
from tests.end_to_end.waiting import until
from trust.configuration_anchor import CONFIGURATION_TYPE
from trust.keys import SoftwareKey
from vocabulary.clock import utc_now
from vocabulary.pae import pae

# As the registry's own: servers look every few seconds.
SERVERS = 3


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
    """Serves `configuration`, and knows who has fetched it."""

    def __init__(self, configuration: pb.SignedConfiguration) -> None:
        self._lock = threading.Lock()
        self._configuration = configuration
        self._fetched: Counter[str] = Counter()

    def GetGlobalConfiguration(  # noqa: N802 - as in the .proto
        self, request: pb.GetGlobalConfigurationRequest, context: Any
    ) -> pb.GetGlobalConfigurationResponse:
        with self._lock:
            self._fetched[context.peer()] += 1
            configuration = self._configuration
        return pb.GetGlobalConfigurationResponse(configuration=configuration)

    def serve(self, configuration: pb.SignedConfiguration) -> None:
        """Serve another one, and wait until every server has had time to take it."""
        with self._lock:
            self._configuration = configuration
            self._fetched.clear()
        # A server asks again only when it is done with the answer before.
        until(self._twice, "every server has fetched the configuration twice")

    def _twice(self) -> bool:
        with self._lock:
            return sum(count >= 2 for count in self._fetched.values()) >= SERVERS


@contextmanager
def false_registry(
    instance: Instance, configuration: pb.SignedConfiguration
) -> Iterator[FalseRegistry]:
    """Take the place of an instance's registry; for `up --keep-going`."""
    address = instance.document["registry"]["address"]
    instance.end("central-registry")
    registry = FalseRegistry(configuration)
    options = (("grpc.so_reuseport", 0),)
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=options)
    add_GlobalConfigurationServiceServicer_to_server(registry, server)
    assert server.add_insecure_port(address)
    server.start()
    try:
        yield registry
    finally:
        server.stop(0).wait()


def directory_of(signed: pb.SignedConfiguration) -> pb.ConfigurationDirectory:
    return pb.ConfigurationDirectory.FromString(signed.directory)


def expiry(signed: pb.SignedConfiguration) -> datetime:
    return directory_of(signed).expires_at.ToDatetime(tzinfo=UTC)
