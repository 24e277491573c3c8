"""A member's own gRPC system, which answers whatever a test wants."""

import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from grpc import aio

LARGE = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.absolute_max_metadata_size", 64 << 10),
    ("grpc.max_metadata_size", 64 << 10),
]


async def messages_of(context):
    return [message async for message in _read(context)]


async def _read(context):
    while (message := await context.read()) is not aio.EOF:
        yield message


@dataclass
class System(grpc.GenericRpcHandler):
    """`answer(context, method)` is a coroutine; what was called is kept."""

    answer: object = None
    methods: list = field(default_factory=list)
    metadata: list = field(default_factory=list)
    bodies: list = field(default_factory=list)
    address: str = ""

    def service(self, handler_call_details):
        async def answer(_requests, context):
            self.methods.append(handler_call_details.method)
            self.metadata.append(tuple(context.invocation_metadata()))
            await self.answer(context, self.bodies)

        return grpc.stream_stream_rpc_method_handler(answer)


@asynccontextmanager
async def running(handler, *, port=0, options=()):
    server = aio.server(options=[*LARGE, ("grpc.so_reuseport", 0), *options])
    server.add_generic_rpc_handlers((handler,))
    handler.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


# A system of its own process, that can be killed: it takes a call and never answers.
SILENT = """
import asyncio, grpc
from grpc import aio

class Silent(grpc.GenericRpcHandler):
    def service(self, handler_call_details):
        async def answer(requests, context):
            print("called", flush=True)
            await asyncio.sleep(3600)
        return grpc.stream_stream_rpc_method_handler(answer)

async def serve():
    server = aio.server()
    server.add_generic_rpc_handlers((Silent(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()

asyncio.run(serve())
"""
SILENT_COMMAND = (sys.executable, "-c", SILENT)
