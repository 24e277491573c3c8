"""A registry as a user runs it: a settings file, a process, two listeners."""

import asyncio
import signal
import sys
import tomllib
from contextlib import asynccontextmanager, closing

import psycopg
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from messaging.transport import fault_of_status
from security_server.configuration_client import ConfigurationClient
from trust.global_configuration import ConfigurationAnchor
from vocabulary.clock import utc_now

DEADLINE_S = 30
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PUBLIC = "ristmik.v1.GlobalConfigurationService"
OPERATORS = "ristmik.v1.RegistryService"


class Registry:
    """A directory and a database, and the processes that are run on them."""

    def __init__(self, directory, database, postgres):
        self.directory = directory
        self.database = database
        self.postgres = postgres
        self.settings = directory / "registry.toml"
        self.socket = directory / "registry.sock"
        self.log = directory / "log"
        self.channels = []
        self.write_settings()

    def write_settings(self, **changed):
        settings = {
            "instance": "EE",
            "directory": str(self.directory / "state"),
            "database_dsn": self.database.login_dsn,
            "listen": "127.0.0.1:0",
            "admin_socket": str(self.socket),
        } | changed
        lines = [
            f"{key} = {value}" if isinstance(value, int) else f'{key} = "{value}"'
            for key, value in settings.items()
        ]
        self.settings.write_text("\n".join(lines))
        assert tomllib.loads(self.settings.read_text()) == settings

    @property
    def anchor(self):
        return ConfigurationAnchor.load(self.directory / "state" / "anchor.json")

    async def start(self, *arguments):
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "central_registry", "--settings", self.settings, *arguments),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def migrate(self):
        process = await self.start("migrate", "--owner-dsn", self.database.owner_dsn)
        assert await ended(process) == 0

    @asynccontextmanager
    async def running(self):
        """Run it until the end, when it is told to stop and must end well."""
        process = await self.start()
        try:
            await self.until_answering(process)
            yield process
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                assert await ended(process) == 0, self.log.read_text()
        finally:
            for channel in self.channels:
                await channel.close()
            self.channels.clear()
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def until_answering(self, process):
        """Wait for health to be answered, whatever the answer; or for an early end."""
        stub = health_pb2_grpc.HealthStub(self.operators())
        answer = stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        answered = asyncio.ensure_future(_result(answer))
        died = asyncio.ensure_future(process.wait())
        await asyncio.wait(
            (answered, died),
            timeout=DEADLINE_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        died.cancel()
        assert answered.done(), self.log.read_text()

    def channel(self, target):
        soon = [("grpc.initial_reconnect_backoff_ms", 50)]
        self.channels.append(aio.insecure_channel(target, soon))
        return self.channels[-1]

    def operators(self):
        return self.channel(f"unix:{self.socket}")

    def public(self):
        return self.channel(self.anchor.address)

    def allow_connections(self, *, allowed):
        """Take its database away, or give it back."""
        name, admin = self.database.name, self.postgres.superuser_dsn()
        with closing(psycopg.connect(admin, autocommit=True)) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s",
                [name],
            )


async def ended(process):
    async with asyncio.timeout(DEADLINE_S):
        out, _ = await process.communicate()
    # Results belong there, and a service has none.
    assert out == b""
    return process.returncode


async def _result(call):
    return await call


async def until_health(channel, wanted, service=""):
    request = health_pb2.HealthCheckRequest(service=service)
    call = health_pb2_grpc.HealthStub(channel).Watch(request, wait_for_ready=True)
    async with asyncio.timeout(DEADLINE_S):
        while (await call.read()).status != wanted:
            pass
    call.cancel()


async def services(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([request]))
    answer = await call.read()
    call.cancel()
    return {each.name for each in answer.list_services_response.service}


async def refused(call):
    """Give the status and the fault that a call ends with."""
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    trailers = raised.value.trailing_metadata()
    return raised.value.code(), fault_of_status(trailers)


def client_of(registry, **options):
    path = registry.directory / "client"
    return ConfigurationClient(registry.anchor, path, utc_now, **options)
