"""Configurations that servers must not follow: they keep the last good one.

The tests stand in the registry's place with the registry's own key, so that each thing
that is wrong is the only thing that is.
"""

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import grpc
import pytest
from grpc import StatusCode, aio

from ledger.record import Kind
from protos.v1 import administration_pb2, fault_pb2
from protos.v1 import configuration_pb2 as pb
from protos.v1.administration_pb2_grpc import AdministrationServiceStub
from tests.end_to_end.calling import Outcome, ask
from tests.end_to_end.instance import CODES, Instance
from tests.end_to_end.refusals import Refused, assert_refused
from tests.end_to_end.registry import (
    Authority,
    FalseRegistry,
    directory_of,
    expiry,
    false_registry,
)
from tests.end_to_end.waiting import eventually, until
from trust.keys import SoftwareKey
from vocabulary.clock import utc_now

EXPIRED = Refused("CONFIGURATION_EXPIRED", StatusCode.FAILED_PRECONDITION)


@dataclass(frozen=True)
class Standing:
    """The false registry, and the newest configuration that all servers hold."""

    instance: Instance
    authority: Authority
    registry: FalseRegistry
    older: pb.SignedConfiguration
    newest: pb.SignedConfiguration

    def held(self) -> set[bytes]:
        """What the servers hold, as they have it on disk: their directories."""
        return {held_by(self.instance, code) for code in CODES}


@pytest.fixture(scope="module")
def standing(fragile: Instance) -> Iterator[Standing]:
    authority = Authority(fragile)
    older = authority.next_one(authority.genuine)
    with false_registry(fragile, older) as registry:
        registry.serve(older)
        newest = authority.next_one(older)
        registry.serve(newest)
        made = Standing(fragile, authority, registry, older, newest)
        assert made.held() == {newest.directory}
        yield made


@pytest.fixture
async def tax(fragile: Instance) -> AsyncIterator[aio.Channel]:
    async with fragile.local("tax") as channel:
        yield channel


async def call(fragile: Instance, tax: aio.Channel) -> Outcome:
    example = fragile.example
    return await ask(tax, example.method, example.body, example.metadata())


def unsigned(standing: Standing) -> pb.SignedConfiguration:
    wrong = standing.authority.next_one(standing.newest)
    wrong.signature = b""
    return wrong


def signed_by_another(standing: Standing) -> pb.SignedConfiguration:
    return standing.authority.next_one(standing.newest, key=SoftwareKey.generate())


def signed_by_another_in_the_name(standing: Standing) -> pb.SignedConfiguration:
    wrong = signed_by_another(standing)
    wrong.signer = standing.newest.signer
    return wrong


def altered(standing: Standing) -> pb.SignedConfiguration:
    wrong = standing.authority.next_one(standing.newest)
    directory = directory_of(wrong)
    directory.version += 1
    wrong.directory = directory.SerializeToString()
    return wrong


def with_a_part_altered(standing: Standing) -> pb.SignedConfiguration:
    wrong = standing.authority.next_one(standing.newest)
    wrong.parts[0].content += b"\x00"
    return wrong


def without_its_parts(standing: Standing) -> pb.SignedConfiguration:
    wrong = standing.authority.next_one(standing.newest)
    del wrong.parts[:]
    return wrong


def empty(standing: Standing) -> pb.SignedConfiguration:
    return pb.SignedConfiguration()


def rolled_back(standing: Standing) -> pb.SignedConfiguration:
    return standing.older


def another_of_its_number(standing: Standing) -> pb.SignedConfiguration:
    return standing.authority.next_one(standing.older, lasts=timedelta(hours=1))


def that_follows_another(standing: Standing) -> pb.SignedConfiguration:
    return standing.authority.next_one(another_of_its_number(standing))


def expired(standing: Standing) -> pb.SignedConfiguration:
    return standing.authority.next_one(standing.newest, lasts=timedelta(seconds=-1))


def of_another_instance(standing: Standing) -> pb.SignedConfiguration:
    right = standing.authority.next_one(standing.newest)
    directory = directory_of(right)
    directory.instance = "EE"
    return standing.authority.signed(directory, right)


@pytest.mark.parametrize(
    "wrong",
    [
        *(unsigned, signed_by_another, signed_by_another_in_the_name),
        *(altered, with_a_part_altered, without_its_parts, empty),
        *(rolled_back, another_of_its_number, that_follows_another),
        *(expired, of_another_instance),
    ],
)
async def test_configuration_that_must_not_be_followed(
    standing: Standing,
    tax: aio.Channel,
    wrong: Callable[[Standing], pb.SignedConfiguration],
) -> None:
    standing.registry.serve(wrong(standing))
    assert standing.held() == {standing.newest.directory}
    assert (await call(standing.instance, tax)).code is StatusCode.OK


async def test_server_that_is_started_again_is_not_rolled_back(
    standing: Standing, tax: aio.Channel
) -> None:
    instance, version = standing.instance, directory_of(standing.newest).version
    standing.registry.serve(rolled_back(standing))
    instance.end("security-server-population", signal.SIGKILL)
    instance.start("security-server-population")
    until(
        lambda: version_of(instance, "population") == version, "it has kept the newest"
    )
    standing.registry.serve(rolled_back(standing))
    assert standing.held() == {standing.newest.directory}
    await answered(instance, tax)


async def test_configuration_expires_and_nothing_older_helps(
    standing: Standing, tax: aio.Channel
) -> None:
    instance, registry = standing.instance, standing.registry
    last = standing.authority.next_one(standing.newest, lasts=timedelta(seconds=5))
    registry.serve(last)
    assert standing.held() == {last.directory}
    assert (await call(instance, tax)).code is StatusCode.OK
    registry.serve(standing.newest)
    until(lambda: utc_now() > expiry(last), "the configuration has expired")
    outcome = await call(instance, tax)
    assert_refused(instance, outcome, EXPIRED)
    (refused,) = instance.entries("tax", outcome.message_id)
    assert refused.kind == Kind.REQUEST_REFUSED
    assert refused.fault_code == fault_pb2.FAULT_CODE_CONFIGURATION_EXPIRED
    assert refused.execution == fault_pb2.EXECUTION_NOT_EXECUTED
    ran = instance.call()
    assert (ran.status, ran.document["fault"]["code"]) == (1, "CONFIGURATION_EXPIRED")
    assert instance.ristmik("doctor").status == 1

    registry.configuration = standing.authority.next_one(last)
    await answered(instance, tax)
    for code in ("tax", "population"):
        assert instance.verify(code).status == 0


async def answered(instance: Instance, tax: aio.Channel) -> None:
    async def is_answered() -> bool:
        return (await call(instance, tax)).code is StatusCode.OK

    await eventually(is_answered, "calls are answered")


def held_by(instance: Instance, code: str) -> bytes:
    file = instance.directory / f"security-server-{code}" / "configuration"
    held = pb.SignedConfiguration.FromString(file.read_bytes())
    assert version_of(instance, code) == directory_of(held).version
    return held.directory


def version_of(instance: Instance, code: str) -> int:
    """Ask a server which version it holds; 0 if none that is current, or it is down."""
    with grpc.insecure_channel(instance.server(code).admin) as channel:
        try:
            status = AdministrationServiceStub(channel).GetStatus(
                administration_pb2.GetStatusRequest(), timeout=10
            )
        except grpc.RpcError:
            return 0
    return int(status.configuration_version)
