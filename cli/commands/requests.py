"""`ristmik requests`: what was asked of the central registry, and its decisions."""

from datetime import UTC
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from cli.connection import REGISTRY, ask, registry
from cli.options import DEFAULT_DIRECTORY, AsJson, Directory
from cli.output import Document, Output, table
from protos.v1 import registry_pb2
from protos.v1.registry_pb2 import (
    ApproveRequestRequest,
    ListRequestsRequest,
    RegistrationRequest,
    RejectRequestRequest,
)

requests = typer.Typer(no_args_is_help=True, help="Requests for registration.")

Number = Annotated[
    int, typer.Argument(metavar="N", min=1, help="Number of the request.")
]


@requests.command("list", epilog="Example: ristmik requests list --all")
def list_requests(
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that were decided.")
    ] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """List the requests that wait for a decision."""
    with registry(directory) as stub:
        request = ListRequestsRequest(all=every)
        answer = ask(stub.ListRequests, request, of=REGISTRY)
    documents = [request_document(request) for request in answer.requests]
    columns = ("number", "kind", "state", "subject", "asked_at", "reason")
    rows = [[str(found[key] or "") for key in columns] for found in documents]
    readable = table(["N", "Kind", "State", "Subject", "Asked at", "Reason"], rows)
    Output(as_json=as_json).result({"requests": documents}, readable)


@requests.command("approve", epilog="Example: ristmik requests approve 12")
def approve(
    number: Number, *, directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False
) -> None:
    """Approve a request; a global configuration that says so is published at once."""
    with registry(directory) as stub:
        request = ApproveRequestRequest(number=number)
        answer = ask(stub.ApproveRequest, request, of=REGISTRY)
    version = answer.configuration_version
    Output(as_json=as_json).result(
        {
            "request": request_document(answer.request),
            "configuration_version": version,
        },
        f"{_said(answer.request)}; in force with global configuration {version}",
    )


@requests.command(
    "reject", epilog="Example: ristmik requests reject 12 --reason 'not a public body'"
)
def reject(
    number: Number,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, for who asked.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Reject a request."""
    with registry(directory) as stub:
        request = RejectRequestRequest(number=number, reason=reason)
        answer = ask(stub.RejectRequest, request, of=REGISTRY)
    show_request(answer.request, Output(as_json=as_json))


def show_request(request: RegistrationRequest, output: Output) -> None:
    """Print a request, and how it is decided if it waits for that."""
    readable = _said(request)
    if request.state == registry_pb2.REGISTRATION_STATE_WAITING:
        readable += f"; decide it with `ristmik requests approve {request.number}`"
    output.result({"request": request_document(request)}, readable)


def request_document(request: RegistrationRequest) -> Document:
    decided = request.HasField("decided_at")
    return {
        "number": request.number,
        "kind": _kind(request),
        "state": _state(request),
        "subject": request.subject,
        "asked_at": iso_time(request.asked_at),
        "decided_at": iso_time(request.decided_at) if decided else None,
        "reason": request.reason or None,
    }


def iso_time(moment: Timestamp) -> str:
    return moment.ToDatetime(tzinfo=UTC).isoformat(timespec="seconds")


def _said(request: RegistrationRequest) -> str:
    return (
        f"request {request.number}: {_kind(request)} {request.subject}"
        f" is {_state(request)}"
    )


def _kind(request: RegistrationRequest) -> str:
    name = registry_pb2.RegistrationKind.Name(request.kind)
    return name.removeprefix("REGISTRATION_KIND_").lower()


def _state(request: RegistrationRequest) -> str:
    name = registry_pb2.RegistrationState.Name(request.state)
    return name.removeprefix("REGISTRATION_STATE_").lower()
