"""An agency's system of the tests' own: it keeps what it was asked, and waits if told.

`desk.v1.Desk` is served from threads, so that it answers while a test waits for a
command to end. It knows nothing of the bus.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import any_pb2, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection

NAME = "desk.v1.Desk"
ASK, REFUSE, WAIT, FLOOD = (
    f"{NAME}/{method}" for method in ("Ask", "Refuse", "Wait", "Flood")
)
WATCH, LOAD = f"{NAME}/Watch", f"{NAME}/Load"

_METHODS = "\n".join(
    f'method {{ name: "{name}" input_type: ".desk.v1.Note"'
    f' output_type: ".desk.v1.Note" {streaming} }}'
    for name, streaming in {
        "Ask": "",
        "Refuse": "",
        "Wait": "",
        "Flood": "",
        "Watch": "server_streaming: true",
        "Load": "client_streaming: true",
    }.items()
)
_FILE = text_format.Parse(
    f"""
    name: "desk/v1/desk.proto" package: "desk.v1" syntax: "proto3"
    message_type {{ name: "Note"
      field {{ name: "text" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }}
      field {{ name: "person_id" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }} }}
    service {{ name: "Desk" {_METHODS} }}
    """,
    FileDescriptorProto(),
)
DESCRIPTORS = FileDescriptorSet(file=[_FILE]).SerializeToString()

_POOL = DescriptorPool()
_POOL.AddSerializedFile(_FILE.SerializeToString())
_NOTE: Any = GetMessageClass(_POOL.FindMessageTypeByName("desk.v1.Note"))

# What `Refuse` ends a call with.
REFUSAL = "the desk is closed"
REFUSED_WITH = (("desk-opens", "tomorrow"), ("desk-raw-bin", b"\x00\xff\x07"))


def note(text: str, person_id: str = "") -> bytes:
    octets = _NOTE(text=text, person_id=person_id).SerializeToString()
    assert isinstance(octets, bytes)
    return octets


def refusal_details() -> bytes:
    """What `Refuse` says in `grpc-status-details-bin`."""
    violation = error_details_pb2.PreconditionFailure.Violation(
        type="OPENING_HOURS", subject="desk", description="closed at night"
    )
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.PreconditionFailure(violations=[violation]))
    status = status_pb2.Status(
        code=code_pb2.FAILED_PRECONDITION, message=REFUSAL, details=[detail]
    )
    octets = status.SerializeToString()
    assert isinstance(octets, bytes)
    return octets


@dataclass(frozen=True)
class Asked:
    method: str
    metadata: tuple[tuple[str, str | bytes], ...]
    body: bytes

    @property
    def message_id(self) -> str:
        return str(dict(self.metadata)["ristmik-message-id"])


class Desk(grpc.GenericRpcHandler):
    """Keeps what it is asked; `Wait` answers once `let_go` is set."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.let_go = threading.Event()
        self.address = ""

    def asked_by(self, message_id: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.message_id == message_id]

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method.removeprefix("/")
        answers = {ASK: self._ask, REFUSE: self._refuse, WAIT: self._wait}
        answers[FLOOD] = self._flood
        if method not in answers:
            return None

        def answer(body: bytes, context: Any) -> bytes:
            metadata = tuple(
                (key, value) for key, value in context.invocation_metadata()
            )
            self.asked.append(Asked(method, metadata, body))
            return answers[method](body, context)

        return grpc.unary_unary_rpc_method_handler(answer)

    def _ask(self, body: bytes, context: Any) -> bytes:
        context.send_initial_metadata((("desk-number", "7"),))
        context.set_trailing_metadata((("desk-clerk", "Mari"),))
        return body

    def _refuse(self, body: bytes, context: Any) -> bytes:
        details = ("grpc-status-details-bin", refusal_details())
        context.set_trailing_metadata((*REFUSED_WITH, details))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, REFUSAL)
        return body

    def _wait(self, body: bytes, context: Any) -> bytes:
        self.let_go.wait(60)
        return body

    def _flood(self, body: bytes, context: Any) -> bytes:
        return note("x" * (16 << 20))


@contextmanager
def running_desk(port: int = 0, desk: Desk | None = None) -> Iterator[Desk]:
    desk = desk or Desk()
    threads = ThreadPoolExecutor(max_workers=40)
    options = (
        ("grpc.so_reuseport", 0),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
    )
    server = grpc.server(threads, handlers=[desk], options=options)
    names = (NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, pool=_POOL)
    desk.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield desk
    finally:
        desk.let_go.set()
        server.stop(0).wait()
        threads.shutdown()
