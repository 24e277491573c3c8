"""The global configuration of an instance, verified as its servers verify it."""

from datetime import datetime

from cli.connection import REGISTRY, ask, channel_to
from cli.parts import Parts
from protos.v1.configuration_pb2 import GetGlobalConfigurationRequest
from protos.v1.configuration_pb2_grpc import GlobalConfigurationServiceStub
from trust.configuration_anchor import ConfigurationAnchor
from trust.global_configuration import GlobalConfiguration, verify_configuration


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
