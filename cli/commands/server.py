"""`ristmik server`: the security servers that the central registry knows."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cli.commands.requests import show_request
from cli.connection import REGISTRY, ask, registry
from cli.failures import Misused
from cli.options import DEFAULT_DIRECTORY, AsJson, Directory, ServerArgument
from cli.output import Output, table
from messaging.wire.identifiers import server_from_pb, server_to_pb, subsystem_from_pb
from protos.v1.configuration_pb2 import RegisteredServer
from protos.v1.registry_pb2 import ListServersRequest, RegisterServerRequest

servers = typer.Typer(no_args_is_help=True, help="Security servers.")


@servers.command(
    "register",
    epilog="Example: ristmik server register EE-SANDBOX/GOV/70003158/ss1"
    " --address ss1.example:5500 --certificate auth.pem"
    ' --checkpoint-key "$(cat checkpoint.vkey)"',
)
def register_server(
    server: ServerArgument,
    *,
    address: Annotated[
        str,
        typer.Option("--address", metavar="HOST:PORT", help="Where peers reach it."),
    ],
    certificate: Annotated[
        Path,
        typer.Option(
            "--certificate",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Its authentication certificate, PEM or DER.",
        ),
    ],
    checkpoint_key: Annotated[
        str,
        typer.Option(
            "--checkpoint-key",
            metavar="KEY",
            help="Verifier key of its ledger's checkpoints (C2SP signed note).",
        ),
    ],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Ask for a security server, or for another address, certificate or key of one."""
    request = RegisterServerRequest(
        id=server_to_pb(server),
        address=address,
        authentication_certificate=_certificate_in(certificate),
        checkpoint_key=checkpoint_key.strip(),
    )
    with registry(directory) as stub:
        answer = ask(stub.RegisterServer, request, of=REGISTRY)
    show_request(answer.request, Output(as_json=as_json))


@servers.command("list", epilog="Example: ristmik server list --json")
def list_servers(
    *, directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False
) -> None:
    """List the security servers that the central registry has approved."""
    with registry(directory) as stub:
        answer = ask(stub.ListServers, ListServersRequest(), of=REGISTRY)
    rows = [
        (
            str(server_from_pb(server.id)),
            server.address,
            ", ".join(str(subsystem_from_pb(pb)) for pb in server.subsystems),
        )
        for server in answer.servers
    ]
    Output(as_json=as_json).result(
        {"servers": [_document(server) for server in answer.servers]},
        table(["Security server", "Address", "Subsystems"], rows),
    )


def _document(server: RegisteredServer) -> dict[str, object]:
    return {
        "id": str(server_from_pb(server.id)),
        "address": server.address,
        # SHA-256 of the DER, as `openssl x509 -fingerprint -sha256` shows it.
        "authentication_certificates": [
            hashlib.sha256(der).hexdigest()
            for der in server.authentication_certificates
        ],
        "checkpoint_keys": list(server.checkpoint_keys),
        "subsystems": [str(subsystem_from_pb(pb)) for pb in server.subsystems],
    }


def _certificate_in(path: Path) -> bytes:
    """Read a certificate, PEM or DER, and give its DER."""
    try:
        content = path.read_bytes()
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificate(content).public_bytes(Encoding.DER)
        return x509.load_der_x509_certificate(content).public_bytes(Encoding.DER)
    except OSError as error:
        raise Misused(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Misused(f"{path} holds no X.509 certificate, PEM or DER") from error
