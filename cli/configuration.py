"""The global configuration of an instance, verified as its servers verify it."""

from collections.abc import Iterator
from datetime import datetime

from cli.connection import REGISTRY, ask, channel_to
from cli.failures import OutOfReach
from cli.parts import Parts
from protos.v1.configuration_pb2 import GetGlobalConfigurationRequest
from protos.v1.configuration_pb2_grpc import GlobalConfigurationServiceStub
from trust.configuration_anchor import ConfigurationAnchor
from trust.global_configuration import (
    GlobalConfiguration,
    authenticate_configuration,
    verify_configuration,
)
from vocabulary.faults import ConfigurationInvalid


def current_configuration(parts: Parts, *, now: datetime) -> GlobalConfiguration:
    """Fetch and verify it; a Fault if it is not to be believed."""
    anchor = ConfigurationAnchor.load(parts.anchor)
    with channel_to(parts.registry_address) as channel:
        answer = ask(
            GlobalConfigurationServiceStub(channel).GetGlobalConfiguration,
            GetGlobalConfigurationRequest(),
            of=REGISTRY,
        )
    signed = answer.configuration.SerializeToString()
    return verify_configuration(signed, anchor=anchor, previous=None, now=now)


def kept_configuration(parts: Parts) -> GlobalConfiguration:
    """Give the newest that a server keeps on disk; it is authentic, and may be old."""
    anchor = ConfigurationAnchor.load(parts.anchor)
    kept = list(_kept(parts, anchor))
    if not kept:
        raise OutOfReach(
            f"no server in {parts.directory} keeps a global configuration that its"
            " anchor vouches for: start the instance, so that they fetch one"
        )
    return max(kept, key=lambda configuration: configuration.version)


def _kept(parts: Parts, anchor: ConfigurationAnchor) -> Iterator[GlobalConfiguration]:
    for server in parts.servers:
        try:
            signed = server.configuration.read_bytes()
            yield authenticate_configuration(signed, anchor=anchor)
        except (OSError, ConfigurationInvalid):
            # Of another server, whose word is as good.
            continue
