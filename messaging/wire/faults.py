"""Faults on the wire: their numbers, and the form an information system sees."""

from messaging.wire.identifiers import server_from_pb, server_to_pb
from protos.v1 import fault_pb2
from vocabulary.faults import Execution, Fault, FrameUnexpected
from vocabulary.imprint import Imprint

FAULTS = {fault.code: fault for fault in Fault.__subclasses__()}


def code_number(code: str) -> fault_pb2.FaultCode.ValueType:
    return fault_pb2.FaultCode.Value(f"FAULT_CODE_{code}")


def execution_number(execution: Execution) -> fault_pb2.Execution.ValueType:
    return fault_pb2.Execution.Value(f"EXECUTION_{execution}")


def fault_of(code: int, detail: str, execution: int) -> Fault:
    """Give the same class again; a code of a newer peer is a frame we cannot read."""
    try:
        name = fault_pb2.FaultCode.Name(fault_pb2.FaultCode.ValueType(code))
        fault = FAULTS[name.removeprefix("FAULT_CODE_")](detail)
        said = fault_pb2.Execution.Name(fault_pb2.Execution.ValueType(execution))
        fault.execution = Execution(said.removeprefix("EXECUTION_"))
    except (KeyError, ValueError):
        fault = FrameUnexpected(f"fault {code}, unknown here: {detail}")
    return fault


def fault_to_pb(fault: Fault) -> fault_pb2.Fault:
    return fault_pb2.Fault(
        code=code_number(fault.code),
        detail=fault.detail,
        origin=server_to_pb(fault.origin) if fault.origin else None,
        execution=execution_number(fault.execution),
        refused_imprint=fault.refused.octets if fault.refused else b"",
    )


def fault_from_pb(pb: fault_pb2.Fault) -> Fault:
    """Give the same class again; ValueError if its origin or imprint is malformed."""
    fault = fault_of(pb.code, pb.detail, pb.execution)
    fault.origin = server_from_pb(pb.origin) if pb.HasField("origin") else None
    fault.refused = Imprint.parse(pb.refused_imprint) if pb.refused_imprint else None
    return fault
