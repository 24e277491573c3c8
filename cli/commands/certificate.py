"""`ristmik certificate`: what the sandbox's certification authority has issued."""

from typing import Annotated

import typer

from cli.commands.requests import iso_time
from cli.connection import ask, certification_authority
from cli.options import DEFAULT_DIRECTORY, AsJson, Directory
from cli.output import Document, Output, table
from protos.v1.trust_services_pb2 import (
    IssuedCertificate,
    ListCertificatesRequest,
    RevokeCertificateRequest,
)

AUTHORITY = "the certification authority"

certificates = typer.Typer(
    no_args_is_help=True, help="Certificates of the sandbox's own authority."
)


@certificates.command("list", epilog="Example: ristmik certificate list --json")
def list_certificates(
    *, directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False
) -> None:
    """List the certificates that were issued."""
    with certification_authority(directory) as stub:
        answer = ask(stub.ListCertificates, ListCertificatesRequest(), of=AUTHORITY)
    documents = [certificate_document(issued) for issued in answer.certificates]
    rows = [
        (
            issued.serial,
            issued.usage,
            issued.holder,
            iso_time(issued.not_after),
            iso_time(issued.revoked_at) if issued.HasField("revoked_at") else "",
        )
        for issued in answer.certificates
    ]
    Output(as_json=as_json).result(
        {"certificates": documents},
        table(["Serial", "Usage", "Holder", "Not after", "Revoked at"], rows),
    )


@certificates.command(
    "revoke", epilog="Example: ristmik certificate revoke 3f9a1c5e7b2d4806"
)
def revoke_certificate(
    serial: Annotated[
        str, typer.Argument(metavar="SERIAL", help="Serial number, as `list` has it.")
    ],
    *,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Revoke a certificate; servers learn of it with its next OCSP response."""
    with certification_authority(directory) as stub:
        request = RevokeCertificateRequest(serial=serial)
        answer = ask(stub.RevokeCertificate, request, of=AUTHORITY)
    revoked = answer.certificate
    Output(as_json=as_json).result(
        {"certificate": certificate_document(revoked)},
        f"the {revoked.usage} certificate {revoked.serial} of {revoked.holder}"
        f" is revoked",
    )


def certificate_document(issued: IssuedCertificate) -> Document:
    revoked = issued.HasField("revoked_at")
    return {
        "serial": issued.serial,
        "usage": issued.usage,
        "holder": issued.holder,
        "not_after": iso_time(issued.not_after),
        "revoked_at": iso_time(issued.revoked_at) if revoked else None,
    }
