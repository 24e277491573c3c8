"""A provider's server that lies: the caller is told so by its own server.

Nothing of the forged answer is released, whether the provider was called cannot be
known, and the consumer's ledger holds the request and that it failed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from grpc import StatusCode, aio

from ledger.record import Kind
from messaging.envelope import Response
from messaging.transport import DETAILS_KEY, MESSAGE_LIMIT, refusal
from messaging.wire.faults import code_number, execution_number
from protos.v1.exchange_pb2 import Cancel, DescribeResponse, Frame, Window
from security_server.peer_leg.frames import hello_frame
from security_server.peer_leg.identity import Hello
from tests.end_to_end.calling import Outcome, ask
from tests.end_to_end.desk import ASK, NAME, note
from tests.end_to_end.hostile import Asked, Thief
from tests.end_to_end.instance import Instance
from tests.end_to_end.lies import ANSWERS, FAULTS, FORGED
from tests.end_to_end.rogue import SERVICE, Rogue, running_rogue, true_description
from tests.end_to_end.waiting import eventually
from vocabulary.faults import AccessDenied, Execution, Fault, ReferenceUnknown
from vocabulary.identifiers import SecurityServerId

pytestmark = pytest.mark.usefixtures("ledgers_still_verify")

TRUE = Response(0, note("so it is"))
SHORT_S = 2.0


@pytest.fixture(scope="module")
def only_rogue(
    instance: Instance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rogue]:
    directory = tmp_path_factory.mktemp("rogue")
    with running_rogue(Thief(instance), directory) as rogue:
        yield rogue


@pytest.fixture
def rogue(only_rogue: Rogue) -> Rogue:
    only_rogue.lie = honestly
    only_rogue.hello = Rogue.true_hello
    only_rogue.description = true_description()
    return only_rogue


def honestly(rogue: Rogue, asked: Asked, _: Any) -> Sequence[Frame]:
    return [rogue.answer(asked, TRUE)]


@dataclass(frozen=True)
class Caller:
    """The tax board, which calls the rogue's service through its own server."""

    instance: Instance
    channel: aio.Channel

    async def ask(self, timeout_s: float = 20.0, method: str = ASK) -> Outcome:
        metadata = self.instance.example.metadata(service=str(SERVICE))
        return await ask(self.channel, method, note("?"), metadata, timeout_s=timeout_s)

    def was_refused(
        self,
        outcome: Outcome,
        code: str,
        execution: str = "UNKNOWN",
        origin: SecurityServerId | None = None,
    ) -> None:
        """Assert who refused with what, that it stands recorded, and nothing more."""
        said_by = str(origin or self.instance.server("tax").id)
        assert outcome.refusal == (code, execution, said_by), outcome
        assert outcome.body is None
        assert "a lie" not in outcome.details
        entries = self.instance.entries("tax", outcome.message_id)
        kinds = [Kind.REQUEST_SENT, Kind.RESPONSE_FAILED]
        assert [entry.kind for entry in entries] == kinds
        failed = (entries[-1].fault_code, entries[-1].execution)
        assert failed == (code_number(code), execution_number(Execution(execution)))


@pytest.fixture
def caller(instance: Instance, tax: aio.Channel) -> Caller:
    return Caller(instance, tax)


async def test_an_honest_answer_is_released(rogue: Rogue, caller: Caller) -> None:
    outcome = await caller.ask()
    assert (outcome.code, outcome.body) == (StatusCode.OK, TRUE.body)


@pytest.mark.parametrize("lie", ANSWERS)
async def test_an_answer_that_is_not_believed_is_not_released(
    rogue: Rogue, caller: Caller, lie: str
) -> None:
    rogue.lie, code = ANSWERS[lie]
    caller.was_refused(await caller.ask(), code)


@pytest.mark.parametrize("lie", FAULTS)
async def test_a_fault_that_is_not_believed_is_not_passed_on(
    rogue: Rogue, caller: Caller, lie: str
) -> None:
    """It says NOT_EXECUTED, and that is not believed either."""
    rogue.lie, code = FAULTS[lie]
    caller.was_refused(await caller.ask(), code)


async def test_an_old_answer_is_not_taken_for_a_new_one(
    rogue: Rogue, caller: Caller
) -> None:
    kept: list[Frame] = []

    def keep(rogue: Rogue, asked: Asked, _: Any) -> Sequence[Frame]:
        kept.append(rogue.answer(asked, FORGED))
        return [Frame.FromString(kept[0].SerializeToString())]

    rogue.lie = keep
    assert (await caller.ask()).code is StatusCode.OK
    caller.was_refused(await caller.ask(), "RESPONSE_INCONSISTENT")


async def test_a_fault_that_is_believed_is_passed_on_as_the_peers(
    rogue: Rogue, caller: Caller
) -> None:
    rogue.lie = lambda rogue, asked, _: [rogue.fault(asked)]
    outcome = await caller.ask()
    server = rogue.keys.server
    caller.was_refused(outcome, "ACCESS_DENIED", "NOT_EXECUTED", origin=server)


async def test_evidence_is_asked_for_once_only(rogue: Rogue, caller: Caller) -> None:
    asked_for: list[Asked] = []

    def unknown(rogue: Rogue, asked: Asked, _: Any) -> Sequence[Frame]:
        asked_for.append(asked)
        return [rogue.fault(asked, code=ReferenceUnknown.code)]

    rogue.lie = unknown
    outcome = await caller.ask()
    server = rogue.keys.server
    caller.was_refused(outcome, "REFERENCE_UNKNOWN", "NOT_EXECUTED", origin=server)
    first, second = asked_for
    assert first.message == second.message


# Not an answer at all.


async def test_silence_ends_with_the_callers_time(rogue: Rogue, caller: Caller) -> None:
    rogue.lie = lambda *_: []
    caller.was_refused(await caller.ask(SHORT_S), "DEADLINE_EXCEEDED")


async def test_a_word_on_another_exchange_is_no_answer(
    rogue: Rogue, caller: Caller
) -> None:
    def elsewhere(rogue: Rogue, asked: Asked, _: Any) -> Sequence[Frame]:
        frame = rogue.answer(asked, FORGED)
        frame.exchange_id = 1 << 60
        return [frame, Frame(cancel=Cancel()), Frame(window=Window(octets=1))]

    rogue.lie = elsewhere
    caller.was_refused(await caller.ask(SHORT_S), "DEADLINE_EXCEEDED")


async def test_the_first_of_two_answers_counts(rogue: Rogue, caller: Caller) -> None:
    rogue.lie = lambda rogue, asked, _: [
        rogue.answer(asked, TRUE),
        rogue.answer(asked, FORGED),
    ]
    outcome = await caller.ask()
    assert (outcome.code, outcome.body) == (StatusCode.OK, TRUE.body)


def _ended(rogue: Rogue, asked: Asked, context: Any) -> Sequence[Frame]:
    context.abort(StatusCode.UNAVAILABLE, "good night")
    return []


def _ended_well(rogue: Rogue, asked: Asked, context: Any) -> Sequence[Frame]:
    context.abort_with_status(_Status(StatusCode.OK, "", ()))
    return []


def _ended_with_a_fault_of(server: SecurityServerId) -> Any:
    def lie(rogue: Rogue, asked: Asked, context: Any) -> Sequence[Frame]:
        fault: Fault = AccessDenied("no right to it")
        fault.execution = Execution.NOT_EXECUTED
        said = refusal(fault, origin=server)
        context.abort_with_status(_Status(said.status, said.message, said.trailers))
        return []

    return lie


def _ended_with_octets(rogue: Rogue, asked: Asked, context: Any) -> Sequence[Frame]:
    trailers = ((DETAILS_KEY, b"\xff\xff"),)
    context.abort_with_status(_Status(StatusCode.INTERNAL, "what", trailers))
    return []


@dataclass(frozen=True)
class _Status:
    code: StatusCode
    details: str
    trailing_metadata: Any


ENDS: dict[str, tuple[Any, str]] = {
    "with a status": (_ended, "PEER_UNREACHABLE"),
    "well": (_ended_well, "PEER_UNREACHABLE"),
    "with details that cannot be read": (_ended_with_octets, "PEER_UNREACHABLE"),
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_stream_that_ends_under_way_leaves_the_outcome_unknown(
    rogue: Rogue, caller: Caller, end: str
) -> None:
    rogue.lie, code = ENDS[end]
    caller.was_refused(await caller.ask(), code)
    rogue.lie = honestly
    assert (await caller.ask()).code is StatusCode.OK


async def test_a_fault_that_ends_a_stream_is_the_peers_and_settles_nothing(
    rogue: Rogue, caller: Caller
) -> None:
    """It is unsigned, so it says nothing of execution, nor in another's name."""
    server = rogue.keys.server
    for named in (server, rogue.thief.health.server, rogue.thief.tax.server):
        rogue.lie = _ended_with_a_fault_of(named)
        caller.was_refused(await caller.ask(), "ACCESS_DENIED", origin=server)


# Descriptions.


DESCRIPTIONS: dict[str, tuple[bytes, str]] = {
    "no message": (b"\xff\xff", "MESSAGE_INVALID"),
    "no descriptors": (
        DescribeResponse(descriptors=b"\xff").SerializeToString(),
        "MESSAGE_INVALID",
    ),
    "a service that is not in it": (
        DescribeResponse(grpc_services=["desk.v1.Desk"]).SerializeToString(),
        "MESSAGE_INVALID",
    ),
    "too much": (bytes(MESSAGE_LIMIT + 1), "LIMIT_EXCEEDED"),
}


@pytest.mark.parametrize("said", DESCRIPTIONS)
async def test_nothing_is_asked_of_a_service_that_is_not_described(
    rogue: Rogue, caller: Caller, said: str
) -> None:
    rogue.description, code = DESCRIPTIONS[said]

    async def refused() -> bool:
        # An unknown method has it described anew, at most once a second.
        outcome = await caller.ask(method=f"{NAME}/Nothing")
        own = caller.instance.server("tax").id
        assert outcome.refusal[1:] == ("NOT_EXECUTED", own), outcome
        return outcome.refusal[0] == code

    await eventually(refused, "the description is asked for again, and refused")
    rogue.description = true_description()
    assert (await caller.ask()).body == TRUE.body


# Greetings.


def _other_server(rogue: Rogue) -> Frame:
    frame = rogue.true_hello()
    hello = Hello(
        rogue.thief.health.server,
        frame.hello.certificate_thumbprint,
        frame.hello.ocsp_response,
    )
    return hello_frame(hello)


def _other_certificate(rogue: Rogue) -> Frame:
    frame = rogue.true_hello()
    frame.hello.certificate_thumbprint = rogue.thief.health.authentication.thumbprint
    return frame


def _no_status(rogue: Rogue) -> Frame:
    frame = rogue.true_hello()
    frame.hello.ClearField("ocsp_response")
    return frame


HELLOS: dict[str, tuple[Callable[[Rogue], Frame], str]] = {
    "another server's": (_other_server, "PEER_MISMATCH"),
    "with another certificate": (_other_certificate, "CERTIFICATE_UNKNOWN"),
    "without a status": (_no_status, "CERTIFICATE_STATUS_UNKNOWN"),
    "not a Hello": (lambda _: Frame(exchange_id=1), "FRAME_UNEXPECTED"),
}


@pytest.mark.parametrize("said", HELLOS)
async def test_nothing_is_sent_to_whom_is_not_believed(
    rogue: Rogue, caller: Caller, said: str
) -> None:
    def end(rogue: Rogue, asked: Asked, context: Any) -> Sequence[Frame]:
        return _ended(rogue, asked, context)

    # A stream to it is open: have it end, so that the next call greets anew.
    rogue.lie = end
    await caller.ask()
    sent: list[Asked] = []

    def note_down(rogue: Rogue, asked: Asked, _: Any) -> Sequence[Frame]:
        sent.append(asked)
        return []

    rogue.lie = note_down
    rogue.hello, code = HELLOS[said]
    caller.was_refused(await caller.ask(), code, "NOT_EXECUTED")
    assert sent == []
