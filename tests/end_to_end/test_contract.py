from grpc import StatusCode

from tests.end_to_end.calling import ask
from tests.end_to_end.instance import Instance


async def test_smoke(instance: Instance) -> None:
    async with instance.local("tax") as channel:
        example = instance.example
        outcome = await ask(
            channel, example.method, example.body, example.metadata(), timeout_s=20
        )
        assert outcome.code is StatusCode.OK, outcome
