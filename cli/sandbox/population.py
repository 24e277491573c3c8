"""Filling a new sandbox: certificates, registrations, services and rights.

Plain calls to administrative sockets, made from threads. Each may have been made
before, by a start that was cut off.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cli.connection import ask, channel_to
from cli.sandbox.agencies import AGENCIES, Agency
from cli.sandbox.directory import Choices, InstanceDirectory
from cli.sandbox.keys import ServerKeys, equip
from cli.sandbox.programs import (
    REGISTRY,
    TRUST,
    SandboxPrograms,
    server_name,
    system_name,
)
from cli.sandbox.registration import SandboxRegistration, TrustAnchors
from cli.sandbox.services import ServerAdministration
from cli.sandbox.supervisor import Check, NotReady
from protos.v1.administration_pb2 import GetStatusRequest
from protos.v1.administration_pb2_grpc import AdministrationServiceStub
from protos.v1.registry_pb2_grpc import RegistryServiceStub
from protos.v1.trust_services_pb2_grpc import CertificationAuthorityServiceStub


class SandboxPopulation:
    def __init__(
        self,
        directory: InstanceDirectory,
        choices: Choices,
        programs: SandboxPrograms,
    ) -> None:
        self._directory = directory
        self._choices = choices
        self._programs = programs

    def equip_servers(self) -> Mapping[str, ServerKeys]:
        """Give each server keys and certificates; by the agencies' codes."""
        with channel_to(self._programs.admin_target(TRUST)) as channel:
            authority = CertificationAuthorityServiceStub(channel)
            return {
                agency.code: equip(
                    authority, agency, self._directory.server(agency.code)
                )
                for agency in AGENCIES
            }

    def register(self, keys: Mapping[str, ServerKeys]) -> int:
        """Register everything; give the version of the configuration that says so."""
        with channel_to(self._programs.admin_target(REGISTRY)) as channel:
            registration = SandboxRegistration(RegistryServiceStub(channel))
            registration.approve_authorities(self._trust_anchors())
            registration.list_codes()
            for agency in AGENCIES:
                peer = self._choices.address(f"{server_name(agency)}/peer")
                registration.register_member(agency)
                registration.register_server(
                    agency, address=peer, keys=keys[agency.code]
                )
                registration.register_subsystem(agency)
            return registration.version

    def set_up_servers(self) -> None:
        with ThreadPoolExecutor(len(AGENCIES)) as threads:
            list(threads.map(self._set_up, AGENCIES))

    def _set_up(self, agency: Agency) -> None:
        target = self._programs.admin_target(server_name(agency))
        system = system_name(agency)
        address = self._choices.address(system) if agency.offers else None
        with channel_to(target) as channel:
            stub = AdministrationServiceStub(channel)
            ServerAdministration(stub, agency).set_up(address)

    def _trust_anchors(self) -> TrustAnchors:
        url = f"http://{self._choices.address(TRUST)}"
        return TrustAnchors(
            _der(self._directory.trust / "ca.pem"),
            f"{url}/ocsp",
            _der(self._directory.trust / "tsa.pem"),
            f"{url}/tsa",
        )


def _der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def holds_configuration(target: str, version: int) -> Check:
    """Check that a server holds that global configuration, or a newer one."""

    def held() -> int:
        with channel_to(target) as channel:
            stub = AdministrationServiceStub(channel)
            status = ask(stub.GetStatus, GetStatusRequest(), of=target)
            return status.configuration_version

    async def check() -> None:
        found = await asyncio.to_thread(held)
        if found < version:
            raise NotReady(f"it holds configuration {found}, not yet {version}")

    return check
