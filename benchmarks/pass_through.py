"""A plain grpc.aio proxy: no TLS, nothing signed or recorded. The yardstick.

python benchmarks/pass_through.py --listen HOST:PORT --to HOST:PORT
"""

import argparse

import grpc
import uvloop
from grpc import aio


class PassThrough(grpc.GenericRpcHandler):
    """Carries every unary call on as it is."""

    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel

    def service(self, details):
        ask = self._channel.unary_unary(details.method)
        metadata = tuple(
            (key, value)
            for key, value in details.invocation_metadata
            if key.startswith("ristmik-")
        )

        async def carry(body: bytes, context: aio.ServicerContext) -> bytes:
            return await ask(body, timeout=context.time_remaining(), metadata=metadata)

        return grpc.unary_unary_rpc_method_handler(carry)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--to", required=True)
    arguments = parser.parse_args()
    async with aio.insecure_channel(arguments.to) as channel:
        server = aio.server()
        server.add_generic_rpc_handlers((PassThrough(channel),))
        server.add_insecure_port(arguments.listen)
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
