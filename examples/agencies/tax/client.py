"""Ask the population register through the tax board's own security server.

What the bus changes for a program is in two places: the address that it dials, and the
metadata that says who asks, for whom, why and by what right.
"""

from dataclasses import dataclass
from typing import TypeAlias

from google.rpc import status_pb2
from grpc import StatusCode, aio

from examples.agencies.population.v1 import population_pb2, population_pb2_grpc
from examples.agencies.tax.v1 import fault_pb2

TIMEOUT_S = 30.0

Metadata: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Asking:
    """In whose name the tax board asks, of which service, why, and by what right."""

    client: str = "EE-SANDBOX/GOV/70000349/tax"
    service: str = "EE-SANDBOX/GOV/70008440/population/persons/v1"
    purpose: str = "TAX_ASSESSMENT"
    legal_basis: str = "MKS-30"

    def metadata(self, subject: str) -> Metadata:
        return (
            ("ristmik-client", self.client),
            ("ristmik-service", self.service),
            ("ristmik-purpose", self.purpose),
            ("ristmik-legal-basis", self.legal_basis),
            ("ristmik-subject", subject),
        )


@dataclass(frozen=True, slots=True)
class NotAnswered(Exception):
    """No person came back: who said so, why, and whether the register was asked."""

    # A security server's identifier, or "service" if the register itself said so.
    origin: str
    status: StatusCode
    message: str
    # What is known of the register's system: NOT_EXECUTED, EXECUTED or UNKNOWN.
    execution: str


async def ask(bus: str, person_id: str, asking: Asking) -> population_pb2.Person:
    """Give the person; raise NotAnswered."""
    async with aio.insecure_channel(bus) as channel:
        registry = population_pb2_grpc.PersonRegistryStub(channel)
        try:
            return await registry.GetPerson(
                population_pb2.GetPersonRequest(person_id=person_id),
                metadata=asking.metadata(person_id),
                timeout=TIMEOUT_S,
            )
        except aio.AioRpcError as error:
            raise not_answered(error) from error


def not_answered(error: aio.AioRpcError) -> NotAnswered:
    trailers = dict(error.trailing_metadata() or ())
    origin = trailers.get("ristmik-origin")
    execution = "UNKNOWN"
    if origin == "service":
        execution = "EXECUTED"
    elif isinstance(details := trailers.get("grpc-status-details-bin"), bytes):
        execution = execution_of(details)
    message = error.details() or ""
    return NotAnswered(str(origin or "no one"), error.code(), message, execution)


def execution_of(details: bytes) -> str:
    """Read the bus's own fault out of a status's details."""
    for detail in status_pb2.Status.FromString(details).details:
        if detail.type_url.endswith("/ristmik.v1.Fault"):
            fault = fault_pb2.Fault.FromString(detail.value)
            name = fault_pb2.Execution.Name(fault.execution)
            return name.removeprefix("EXECUTION_")
    return "UNKNOWN"
