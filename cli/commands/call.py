"""`ristmik call`: one call over the bus, as an information system makes it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, cast
from urllib.parse import quote

import grpc
import typer

from cli.connection import channel_to, find, server_carrying
from cli.description import Description, Metadata
from cli.failures import NOT_SO, OutOfReach, Refused
from cli.options import DEFAULT_DIRECTORY, AsJson, Directory
from cli.output import Document, Output
from cli.parts import Parts, ServerPart
from messaging.transport import ORIGIN_KEY, fault_of_status
from vocabulary.faults import (
    DeadlineExceeded,
    Execution,
    Fault,
    MetadataInvalid,
    PeerUnreachable,
)
from vocabulary.identifiers import SubsystemId

SERVICE_ORIGIN = "service"
DESCRIBE_TIMEOUT_S = 20
# A field of number 0 does not exist, so no method takes this for its request.
UNREADABLE: Final = b"\x07"

_EXECUTION_WORDS: Final = {
    Execution.NOT_EXECUTED: "the provider's system was not called",
    Execution.EXECUTED: "the provider's system was called",
    Execution.UNKNOWN: "whether the provider's system was called is not known",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one call."""

    status: str
    response: Document | None = None
    message_id: str | None = None
    entry: int | None = None
    fault: Fault | None = None
    # The service's own words, if it answered with an error.
    message: str = ""

    def document(self) -> Document:
        return {
            "response": self.response,
            "status": self.status,
            "message_id": self.message_id,
            "records": {} if self.entry is None else {"consumer": self.entry},
            "fault": None if self.fault is None else _fault_document(self.fault),
        }


class Caller:
    """Calls one service in the name of one client, through the client's server."""

    def __init__(self, server: ServerPart, *, client: str, service: str) -> None:
        self._server = server
        self._metadata = (
            ("ristmik-client", in_metadata(client)),
            ("ristmik-service", in_metadata(service)),
        )

    def call(
        self, method: str, text: str, *, purposes: Metadata, timeout: float
    ) -> Outcome:
        """Call a method with its request as JSON; OutOfReach if the server is down."""
        with channel_to(self._server.local) as channel:
            try:
                described = Description.ask(
                    channel, self._metadata, timeout=DESCRIBE_TIMEOUT_S
                )
            except grpc.RpcError as error:
                return self._refused(cast("grpc.Call", error))
            full = described.find(method)
            known = full in described.methods
            # What is not described is for the bus to refuse, and to record.
            request = described.encode(full, text) if known else UNREADABLE
            metadata = (*self._metadata, *purposes)
            stub: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                f"/{full}"
            )
            try:
                octets, ended = stub.with_call(
                    request, metadata=metadata, timeout=timeout
                )
            except grpc.RpcError as error:
                return self._failed(cast("grpc.Call", error))
        response = described.decode(full, octets)
        return replace(_read(ended, "OK"), response=response)

    def _refused(self, ended: grpc.Call) -> Outcome:
        """Read why the service was not described; the call itself was not sent."""
        outcome = _read(ended, ended.code().name)
        if outcome.fault is None:
            raise OutOfReach(
                f"{self._server.id} does not describe the service"
                f" ({ended.details()}), so nothing was sent: `ristmik doctor` says what"
                " is wrong"
            )
        return outcome

    def _failed(self, ended: grpc.Call) -> Outcome:
        outcome = _read(ended, ended.code().name)
        if outcome.fault is not None or _origin(ended) == SERVICE_ORIGIN:
            return replace(outcome, message=ended.details())
        # Nobody on the bus said this: the connection to the own server ended.
        what = f"{self._server.id} did not answer ({ended.details()})"
        fault: Fault = PeerUnreachable(f"{what}: look the message up in its ledger")
        if ended.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            fault = DeadlineExceeded(f"{what}: allow more time with --timeout")
        return replace(outcome, fault=fault)


Method = Annotated[
    str, typer.Argument(metavar="METHOD", help="GetPerson, or its full name.")
]
Json = Annotated[str, typer.Argument(metavar="JSON", help="The request, as JSON.")]
Client = Annotated[
    str, typer.Option("--client", metavar="ID", help="The subsystem that calls.")
]
Service = Annotated[
    str, typer.Option("--service", metavar="ID", help="The service it calls.")
]
Subjects = Annotated[
    list[str] | None,
    typer.Option("--subject", metavar="PERSON", help="Who it is about (repeatable)."),
]
Purpose = Annotated[
    str | None,
    typer.Option("--purpose", metavar="CODE", help="Purpose, from the list."),
]
LegalBasis = Annotated[
    str | None,
    typer.Option("--legal-basis", metavar="CODE", help="Legal basis, from the list."),
]
Case = Annotated[
    str | None,
    typer.Option("--case", metavar="NUMBER", help="The caller's own case number."),
]
MessageId = Annotated[
    str | None,
    typer.Option("--message-id", metavar="UUID", help="A UUIDv7; made if not given."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="S", min=0.001, help="Seconds to wait.")
]


def call(
    method: Method,
    request: Json = "{}",
    *,
    client: Client,
    service: Service,
    subject: Subjects = None,
    purpose: Purpose = None,
    legal_basis: LegalBasis = None,
    case: Case = None,
    message_id: MessageId = None,
    timeout: Timeout = 60,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Call a service over the bus and print its answer, or why it was refused."""
    purposes = purpose_metadata(
        subject or (),
        purpose=purpose,
        legal_basis=legal_basis,
        case=case,
        message_id=message_id,
    )
    caller = Caller(server_of(find(directory), client), client=client, service=service)
    outcome = caller.call(method, request, purposes=purposes, timeout=timeout)
    show(outcome, Output(as_json=as_json))
    if outcome.status != "OK":
        raise typer.Exit(NOT_SO)


def server_of(parts: Parts, client: str) -> ServerPart:
    """Find the server a client calls through; any server refuses an unknown client."""
    try:
        return server_carrying(parts, SubsystemId.parse(client))
    except (ValueError, Refused):
        return parts.servers[0]


def purpose_metadata(
    subjects: Iterable[str],
    *,
    purpose: str | None = None,
    legal_basis: str | None = None,
    case: str | None = None,
    message_id: str | None = None,
) -> Metadata:
    """Say why a call is made, as metadata; what is not given is left out."""
    given = {
        "ristmik-purpose": purpose,
        "ristmik-legal-basis": legal_basis,
        "ristmik-case": case,
        "ristmik-message-id": message_id,
    }
    return [
        *((key, in_metadata(text)) for key, text in given.items() if text),
        *(("ristmik-subject", in_metadata(text)) for text in subjects),
    ]


def in_metadata(text: str) -> str:
    """Percent-encode what HTTP/2 metadata cannot carry, and the percent sign."""
    carried = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
    # Blanks at the ends would be lost.
    return quote(text, safe=carried if text == text.strip(" ") else carried[1:])


def show(outcome: Outcome, output: Output) -> None:
    if output.as_json:
        output.result(outcome.document(), "")
        return
    if outcome.response is not None:
        output.show(json.dumps(outcome.response, ensure_ascii=False, indent=2))
    if outcome.fault is not None:
        output.note(_refusal(outcome.fault))
    elif outcome.status != "OK":
        output.note(f"the service itself answered {outcome.status}: {outcome.message}")
    if outcome.message_id is not None:
        recorded = outcome.entry is not None
        entry = f", entry {outcome.entry} of the client's ledger" if recorded else ""
        output.note(f"message {outcome.message_id}{entry}")


def _refusal(fault: Fault) -> str:
    by = f"{fault.origin} refused" if fault.origin else "failed"
    return f"{by}: {fault.code}: {fault.detail}; {_EXECUTION_WORDS[fault.execution]}"


def _fault_document(fault: Fault) -> dict[str, object]:
    return {
        "code": fault.code,
        "detail": fault.detail,
        "origin": str(fault.origin) if fault.origin else None,
        "execution": str(fault.execution),
    }


def _read(ended: grpc.Call, status: str) -> Outcome:
    trailers = dict(_trailers(ended))
    record = str(trailers.get("ristmik-record", ""))
    message_id = trailers.get("ristmik-message-id")
    return Outcome(
        status,
        message_id=None if message_id is None else str(message_id),
        entry=int(record) if record.isascii() and record.isdecimal() else None,
        fault=None if _origin(ended) == SERVICE_ORIGIN else _fault(ended),
    )


def _fault(ended: grpc.Call) -> Fault | None:
    try:
        return fault_of_status(_trailers(ended))
    except ValueError as error:
        return MetadataInvalid(f"a fault that cannot be read ({error})")


def _origin(ended: grpc.Call) -> str | None:
    origin: Any = dict(_trailers(ended)).get(ORIGIN_KEY)
    return origin if isinstance(origin, str) else None


def _trailers(ended: grpc.Call) -> Iterable[tuple[str, str | bytes]]:
    return ended.trailing_metadata() or ()
