"""Those who judge our PKI and know nothing of it."""

import socket
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from tests.foreign import program

ROOT = Path(__file__).parents[2]


def openssl(*arguments, cwd):
    """Give exit status and all output of Debian's openssl."""
    ended = subprocess.run(  # noqa: S603 - the arguments are this test's own
        [program("openssl", package="openssl"), *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=30,
    )
    return ended.returncode, ended.stdout


def write_pem(path, certificate):
    path.write_bytes(certificate.x509.public_bytes(Encoding.PEM))
    return path


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
