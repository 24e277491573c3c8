"""The trust services as a user starts them: one process, over HTTP and a socket."""

import subprocess
import sys
import time
from signal import SIGTERM, Signals

import grpc
import httpx2
from cryptography import x509

from protos.v1.trust_services_pb2_grpc import CertificationAuthorityServiceStub
from tests.trust_services.oracles import ROOT, free_port
from trust.certificates import Certificate

INSTANCE = "EE-SANDBOX"


class RunningTrustServices:
    def __init__(self, directory, database_dsn, *, port=None):
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.state = directory / "state"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_socket = directory / "admin.sock"
        self.settings = directory / "trust.toml"
        self.log = directory / "log"
        self.settings.write_text(
            f"""
            instance = "{INSTANCE}"
            directory = "{self.state}"
            database_dsn = "{database_dsn}"
            http_listen = "127.0.0.1:{self.port}"
            admin_socket = "{self.admin_socket}"
            ocsp_validity_s = 600
            """
        )
        self.process = None
        self._channel = None

    def start(self):
        self.launch()
        self.until(self.is_healthy)

    def run(self, *arguments):
        """Give the exit status of the program with these arguments."""
        ended = subprocess.run(  # noqa: S603 - this very program
            [*self.command, *arguments],
            cwd=ROOT,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert ended.stdout == b""
        return ended.returncode

    @property
    def command(self):
        return [sys.executable, "-m", "trust_services", "--settings", self.settings]

    def launch(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - the same
                self.command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def until(self, condition, *, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def is_healthy(self):
        try:
            answer = httpx2.get(f"{self.url}/health")
        except httpx2.TransportError:
            return False
        return answer.status_code == 200

    def stop(self, number: Signals = SIGTERM):
        """Give the exit status and what was printed on standard output."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self.process.send_signal(number)
        return self.end()

    def end(self):
        """Wait for it to end by itself; give what `stop` gives."""
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output

    @property
    def stub(self):
        if self._channel is None:
            self._channel = grpc.insecure_channel(f"unix:{self.admin_socket}")
        return CertificationAuthorityServiceStub(self._channel)

    @property
    def authority(self):
        return self._certificate("ca")

    @property
    def time_stamping_authority(self):
        return self._certificate("tsa")

    def _certificate(self, name):
        pem = (self.state / f"{name}.pem").read_bytes()
        return Certificate.of(x509.load_pem_x509_certificate(pem))
