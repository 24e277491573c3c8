"""InsuranceRegistry over gRPC."""

from grpc import aio

from examples.agencies.health.register import Basis, Insurance, Register, Visit
from examples.agencies.health.v1 import health_pb2, health_pb2_grpc
from examples.agencies.serving import Context, known_person_id, not_found

NAME = health_pb2.DESCRIPTOR.services_by_name["InsuranceRegistry"].full_name
BASES = {
    None: health_pb2.BASIS_UNSPECIFIED,
    Basis.CHILD: health_pb2.BASIS_CHILD,
    Basis.STUDENT: health_pb2.BASIS_STUDENT,
    Basis.EMPLOYEE: health_pb2.BASIS_EMPLOYEE,
    Basis.PENSIONER: health_pb2.BASIS_PENSIONER,
}
UNKNOWN = "the health fund's register has no such person"


class InsuranceRegistry(health_pb2_grpc.InsuranceRegistryServicer):
    def __init__(self, register: Register) -> None:
        self._register = register

    async def GetInsurance(
        self, request: health_pb2.GetInsuranceRequest, context: Context
    ) -> health_pb2.Insurance:
        asked = await known_person_id(request.person_id, context, field="person_id")
        insurance = self._register.insurance(asked)
        if insurance is None:
            await not_found(context, UNKNOWN)
        return insurance_to_pb(insurance)

    async def ListVisits(
        self, request: health_pb2.ListVisitsRequest, context: Context
    ) -> health_pb2.ListVisitsResponse:
        asked = await known_person_id(request.person_id, context, field="person_id")
        visits = self._register.visits(asked)
        if visits is None:
            await not_found(context, UNKNOWN)
        return health_pb2.ListVisitsResponse(visits=map(visit_to_pb, visits))


def insurance_to_pb(insurance: Insurance) -> health_pb2.Insurance:
    begun = insurance.insured_from
    return health_pb2.Insurance(
        person_id=insurance.person_id,
        insured=insurance.basis is not None,
        basis=BASES[insurance.basis],
        insured_from=begun.isoformat() if begun else "",
        family_physician=insurance.family_physician,
    )


def visit_to_pb(visit: Visit) -> health_pb2.Visit:
    return health_pb2.Visit(
        id=visit.id,
        person_id=visit.person_id,
        date=visit.date.isoformat(),
        provider=visit.provider,
        speciality=visit.speciality,
    )


def add(server: aio.Server) -> None:
    health_pb2_grpc.add_InsuranceRegistryServicer_to_server(
        InsuranceRegistry(Register()), server
    )
