"""What each security server's administrator sets up: clients, services and rights."""

from dataclasses import dataclass

from cli.connection import ask
from cli.sandbox.agencies import GRANTS, Agency, OfferedService
from messaging.wire.identifiers import service_to_pb, subsystem_to_pb
from protos.v1.administration_pb2 import (
    AccessRight,
    AddServiceRequest,
    GrantAccessRequest,
    LocalClient,
    SetClientRequest,
)
from protos.v1.administration_pb2_grpc import AdministrationServiceStub


@dataclass(frozen=True, slots=True)
class ServerAdministration:
    """Sets up the security server of one agency; again changes nothing."""

    administration: AdministrationServiceStub
    agency: Agency

    def set_up(self, system_address: str | None) -> None:
        client = LocalClient(
            subsystem=subsystem_to_pb(self.agency.subsystem), plaintext_loopback=True
        )
        request = SetClientRequest(client=client)
        ask(self.administration.SetClient, request, of=str(self.agency.server))
        if self.agency.offers is not None and system_address is not None:
            self._offer(self.agency.offers, system_address)

    def _offer(self, service: OfferedService, address: str) -> None:
        # Without descriptors: the server asks the system by reflection.
        request = AddServiceRequest(
            service=service_to_pb(service.id),
            address=address,
            personal=True,
            request_subjects=service.request_subjects,
            response_subjects=service.response_subjects,
        )
        server = str(self.agency.server)
        ask(self.administration.AddService, request, of=server)
        for granted, client in GRANTS:
            if granted == service.id:
                right = AccessRight(
                    service=service_to_pb(granted), client=subsystem_to_pb(client)
                )
                grant = GrantAccessRequest(right=right)
                ask(self.administration.GrantAccess, grant, of=server)
