"""Everything the sandbox's central registry has to know, asked for and approved.

Each step may have been done before, by a start that was cut off.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cli.connection import REGISTRY, ask
from cli.failures import Refused
from cli.sandbox.agencies import LEGAL_BASES, PURPOSES, Agency
from cli.sandbox.keys import ServerKeys
from messaging.wire.identifiers import (
    member_to_pb,
    server_to_pb,
    subsystem_to_pb,
)
from protos.v1.configuration_pb2 import ApprovedAuthority, ListedCode
from protos.v1.registry_pb2 import (
    AUTHORITY_KIND_CERTIFICATION,
    AUTHORITY_KIND_TIME_STAMPING,
    CODE_LIST_LEGAL_BASES,
    CODE_LIST_PURPOSES,
    ApproveAuthorityRequest,
    ApproveRequestRequest,
    CodeList,
    ListCodeRequest,
    ListRequestsRequest,
    RegisterMemberRequest,
    RegisterServerRequest,
    RegisterSubsystemRequest,
    RegistrationRequest,
)
from protos.v1.registry_pb2_grpc import RegistryServiceStub

_ALREADY = "ALREADY_REGISTERED"


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """The sandbox's CA and TSA: certificates (DER), and where they are asked."""

    ca_certificate: bytes
    ocsp_url: str
    tsa_certificate: bytes
    tsa_url: str


class SandboxRegistration:
    """Registers members, servers and subsystems, and approves what it asked for."""

    def __init__(self, registry: RegistryServiceStub) -> None:
        self._registry = registry
        # Of the global configuration that says all that was asked for here so far.
        self.version = 0

    def approve_authorities(self, trust: TrustAnchors) -> None:
        certification = ApprovedAuthority(
            name="Ristmik sandbox CA",
            certificate=trust.ca_certificate,
            url=trust.ocsp_url,
        )
        time_stamping = ApprovedAuthority(
            name="Ristmik sandbox TSA",
            certificate=trust.tsa_certificate,
            url=trust.tsa_url,
        )
        for kind, authority in (
            (AUTHORITY_KIND_CERTIFICATION, certification),
            (AUTHORITY_KIND_TIME_STAMPING, time_stamping),
        ):
            request = ApproveAuthorityRequest(kind=kind, authority=authority)
            answer = ask(self._registry.ApproveAuthority, request, of=REGISTRY)
            self.version = answer.configuration_version

    def list_codes(self) -> None:
        self._list(CODE_LIST_PURPOSES, PURPOSES)
        self._list(CODE_LIST_LEGAL_BASES, LEGAL_BASES)

    def register_member(self, agency: Agency) -> None:
        request = RegisterMemberRequest(
            id=member_to_pb(agency.member), name=agency.name
        )
        self._approved(
            str(agency.member),
            lambda: ask(self._registry.RegisterMember, request, of=REGISTRY).request,
        )

    def register_server(
        self, agency: Agency, *, address: str, keys: ServerKeys
    ) -> None:
        request = RegisterServerRequest(
            id=server_to_pb(agency.server),
            address=address,
            authentication_certificate=keys.authentication_certificate,
            checkpoint_key=keys.checkpoint_key,
        )
        self._approved(
            str(agency.server),
            lambda: ask(self._registry.RegisterServer, request, of=REGISTRY).request,
        )

    def register_subsystem(self, agency: Agency) -> None:
        request = RegisterSubsystemRequest(
            id=subsystem_to_pb(agency.subsystem), server=server_to_pb(agency.server)
        )
        self._approved(
            str(agency.subsystem),
            lambda: ask(self._registry.RegisterSubsystem, request, of=REGISTRY).request,
        )

    def _approved(
        self, subject: str, register: Callable[[], RegistrationRequest]
    ) -> None:
        try:
            number = register().number
        except Refused as refused:
            if refused.code != _ALREADY:
                raise
            # It is registered, or was asked for by a start that was cut off.
            waiting = ask(
                self._registry.ListRequests, ListRequestsRequest(), of=REGISTRY
            ).requests
            left = [request for request in waiting if request.subject == subject]
            if not left:
                return
            number = left[0].number
        request = ApproveRequestRequest(number=number)
        answer = ask(self._registry.ApproveRequest, request, of=REGISTRY)
        self.version = answer.configuration_version

    def _list(self, codes: "CodeList.ValueType", named: Mapping[str, str]) -> None:
        for code, name in named.items():
            request = ListCodeRequest(list=codes, code=ListedCode(code=code, name=name))
            answer = ask(self._registry.ListCode, request, of=REGISTRY)
            self.version = answer.configuration_version
