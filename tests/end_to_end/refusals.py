"""What a refused call leaves: the fault, what is recorded, and nothing called."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from grpc import StatusCode

from examples.agencies.persons import all_persons
from examples.agencies.population.v1 import population_pb2
from ledger.record import Kind
from protos.v1 import exchange_pb2, fault_pb2
from tests.end_to_end.calling import Outcome
from tests.end_to_end.instance import Instance
from tests.end_to_end.waiting import until

# Refusals that are alike are folded within a second, so each test is about another
# person, and none of them about the example's.
_PERSONS: Iterator[str] = iter(
    person.id for person in all_persons() if person.id != "PNOEE-39901012239"
)


def someone() -> str:
    return next(_PERSONS)


def request_about(person: str) -> bytes:
    return population_pb2.GetPersonRequest(person_id=person).SerializeToString()


@dataclass(frozen=True)
class Refused:
    """What a call is refused with, and by the server of which agency."""

    code: str
    status: StatusCode
    by: str = "tax"
    execution: str = "NOT_EXECUTED"
    # Whether it had been sent to the provider's server by then.
    sent: bool = field(default=False, kw_only=True)


def assert_refused(instance: Instance, outcome: Outcome, refused: Refused) -> None:
    """The caller is told by name, and told what became of the call."""
    assert outcome.refusal == (
        refused.code,
        refused.execution,
        instance.server(refused.by).id,
    ), outcome
    assert outcome.code is refused.status
    assert outcome.details.startswith(f"{refused.code}: ")
    assert outcome.details.endswith(outcome.fault.detail)


def assert_recorded(
    instance: Instance, outcome: Outcome, refused: Refused, *, provider: str
) -> None:
    """Both ledgers say the same of it, and the provider's system was not called."""
    code, execution = numbers(refused)
    kinds = [Kind.REQUEST_REFUSED]
    if refused.sent:
        kinds = [Kind.REQUEST_SENT, Kind.RESPONSE_FAILED]
    ours = instance.entries("tax", outcome.message_id)
    assert [Kind(entry.kind) for entry in ours] == kinds
    assert (ours[-1].fault_code, ours[-1].execution) == (code, execution)
    theirs = instance.entries(provider, outcome.message_id)
    kinds = [Kind.REQUEST_REFUSED, Kind.RESPONSE_FAILED] if refused.sent else []
    assert [Kind(entry.kind) for entry in theirs] == kinds
    for entry in theirs:
        assert (entry.fault_code, entry.execution) == (code, execution)
    if refused.sent:
        # The signed fault is one and the same on both sides.
        assert ours[-1].head == theirs[-1].head


def numbers(refused: Refused) -> tuple[int, int]:
    code = fault_pb2.FaultCode.Value(f"FAULT_CODE_{refused.code}")
    return code, fault_pb2.Execution.Value(f"EXECUTION_{refused.execution}")


def refusals(instance: Instance, server: str, code: str) -> int:
    """Count the faults of one code that a ledger holds, folded ones too."""
    number = fault_pb2.FaultCode.Value(f"FAULT_CODE_{code}")
    faults = [
        exchange_pb2.FaultHead.FromString(entry.head)
        for entry in instance.entries(server)
        if entry.part_type == "ristmik.fault.v1" and entry.fault_code == number
    ]
    return sum(fault.repeats or 1 for fault in faults)


def await_refusals(instance: Instance, server: str, code: str, count: int) -> None:
    until(
        lambda: refusals(instance, server, code) >= count,
        f"{count} refusals with {code} in the ledger of {server}",
        within_s=10,
    )
    assert refusals(instance, server, code) == count
