"""Frames of the peer leg that both of its ends make and read."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from ledger.record import HASH_OCTETS
from messaging.verification import Delivered
from messaging.wire.identifiers import server_from_pb, server_to_pb
from messaging.wire.parts import part_from_pb
from protos.v1 import exchange_pb2
from protos.v1.exchange_pb2 import Frame, Frames
from security_server.peer_leg.identity import Hello
from vocabulary.faults import FrameUnexpected
from vocabulary.identifiers import SecurityServerId
from vocabulary.imprint import Imprint

# Of one stream message: frames, and octets unless one frame alone has more.
FRAMES_LIMIT = 256
OCTETS_LIMIT = 1 << 20
_GIVEN_LIMIT = 1024


class Given:
    """The evidence that one stream has carried, so that it travels once."""

    def __init__(self) -> None:
        self._given: OrderedDict[Imprint, None] = OrderedDict()

    def new(self, ders: Iterable[bytes]) -> list[bytes]:
        """Give back those that were not given before, and count them as given."""
        fresh = []
        for der in ders:
            imprint = Imprint.of(der)
            if imprint not in self._given:
                fresh.append(der)
                self._given[imprint] = None
        while len(self._given) > _GIVEN_LIMIT:
            self._given.popitem(last=False)
        return fresh


def batches(frames: Iterable[Frame]) -> Iterator[Frames]:
    """Put what is waiting into as few stream messages as the limits allow."""
    batch, octets = Frames(), 0
    for frame in frames:
        size = frame.ByteSize()
        full = len(batch.frames) == FRAMES_LIMIT or octets + size > OCTETS_LIMIT
        if batch.frames and full:
            yield batch
            batch, octets = Frames(), 0
        batch.frames.append(frame)
        octets += size
    if batch.frames:
        yield batch


def delivered(frame: Frame, peer: SecurityServerId) -> Delivered:
    """Read the part or fault that a frame carries; FrameUnexpected if malformed.

    A part comes with the row hash of the peer's own record of it; only a fault of a
    peer whose ledger is down has none.
    """
    fault = frame.WhichOneof("kind") == "fault"
    if len(frame.row_hash) != HASH_OCTETS and (frame.row_hash or not fault):
        raise FrameUnexpected("a part without the row hash of its sender's record")
    message = part_from_pb(frame.fault if fault else frame.part)
    return Delivered(message, peer, frame.row_hash or None)


def hello_frame(hello: Hello) -> Frame:
    return Frame(
        hello=exchange_pb2.Hello(
            security_server=server_to_pb(hello.server),
            certificate_thumbprint=hello.certificate_thumbprint,
            ocsp_response=hello.ocsp_response,
        )
    )


def read_hello(frames: Frames) -> Hello:
    """Raise FrameUnexpected unless Hello, and nothing else, is what was said first."""
    if len(frames.frames) != 1 or frames.frames[0].WhichOneof("kind") != "hello":
        raise FrameUnexpected("a stream starts with Hello, and with nothing else")
    pb = frames.frames[0].hello
    try:
        server = server_from_pb(pb.security_server)
    except ValueError as error:
        raise FrameUnexpected(f"Hello: {error}") from error
    return Hello(server, pb.certificate_thumbprint, pb.ocsp_response)
