"""A consumer's server that lies: each lie is refused by name, and nothing is called.

The liar is let in, since it holds the keys of a registered server; what it sends is
read by the population register's own server.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ledger.fields import Field, Tag, fields_root
from messaging.envelope import Response
from messaging.parts import Close, Part
from messaging.signing import sign_batch
from messaging.verification import VerifiedResponse
from messaging.wire.heads import encode_close
from protos.v1 import exchange_pb2
from protos.v1.exchange_pb2 import Frame, SignedPart
from tests.end_to_end.hostile import Asked, Stream, Thief, refused
from tests.end_to_end.siege import Population
from vocabulary.clock import utc_now

Open = exchange_pb2.Open

pytestmark = pytest.mark.usefixtures("ledgers_still_verify")


async def test_what_is_not_altered_is_answered(
    thief: Thief, stream: Stream, population: Population
) -> None:
    asked = await thief.asked()
    answer = await thief.answer(stream, asked)
    assert isinstance(answer, VerifiedResponse)
    assert answer.response.status == 0
    assert answer.response.body
    assert population.received(asked) == 1


# What was signed is not what arrives.


def _flip(octets: bytes) -> bytes:
    return octets[:-1] + bytes([octets[-1] ^ 1])


def _signature(part: SignedPart) -> None:
    part.signature = _flip(part.signature)


def _body(part: SignedPart) -> None:
    part.fields[0].value = _flip(part.fields[0].value)


def _subject(part: SignedPart) -> None:
    part.fields[1].value = b"PNOEE-39001010017"


def _salt(part: SignedPart) -> None:
    part.fields[0].salt = _flip(part.fields[0].salt)


def _short_salt(part: SignedPart) -> None:
    part.fields[0].salt = part.fields[0].salt[1:]


def _head(part: SignedPart) -> None:
    head = Open.FromString(part.head)
    head.purpose = "STATISTICS"
    part.head = head.SerializeToString()


def _head_and_more(part: SignedPart) -> None:
    # An unknown field, which a parser passes over.
    part.head += b"\xf8\x07\x01"


def _order(part: SignedPart) -> None:
    swapped = list(reversed(part.fields))
    del part.fields[:]
    part.fields.extend(swapped)


def _dropped(part: SignedPart) -> None:
    del part.fields[1]


def _surplus(part: SignedPart) -> None:
    part.fields.append(part.fields[-1])


def _no_fields(part: SignedPart) -> None:
    del part.fields[:]


def _relabelled_close(part: SignedPart) -> None:
    part.type = "ristmik.close.v1"


def _unknown_type(part: SignedPart) -> None:
    part.type = "ristmik.chunk.v1"


def _long_path(part: SignedPart) -> None:
    part.path.extend([b"\0" * 32] * 17)
    part.leaf_index, part.leaf_count = 0, 1 << 17


def _path_too_long_for_its_leaf(part: SignedPart) -> None:
    part.path.append(b"\0" * 32)


def _wrong_leaf(part: SignedPart) -> None:
    part.path.append(b"\0" * 32)
    part.leaf_index, part.leaf_count = 1, 2


def _leaf_beyond_the_batch(part: SignedPart) -> None:
    part.leaf_index = 1


def _no_batch(part: SignedPart) -> None:
    part.leaf_count = 0


def _no_status(part: SignedPart) -> None:
    part.ocsp_imprint = b""


def _no_signature(part: SignedPart) -> None:
    part.signature = b""


def _no_thumbprint(part: SignedPart) -> None:
    part.certificate_thumbprint = b""


ALTERED: dict[str, tuple[Callable[[SignedPart], None], str]] = {
    "signature": (_signature, "SIGNATURE_INVALID"),
    "body, the head kept": (_body, "FIELDS_INVALID"),
    "subject, the head kept": (_subject, "FIELDS_INVALID"),
    "salt": (_salt, "FIELDS_INVALID"),
    "salt of 31 octets": (_short_salt, "FIELDS_INVALID"),
    "head": (_head, "SIGNATURE_INVALID"),
    "head with a field that nobody reads": (_head_and_more, "SIGNATURE_INVALID"),
    "fields out of order": (_order, "FIELDS_INVALID"),
    "fields dropped": (_dropped, "FIELDS_INVALID"),
    "fields surplus": (_surplus, "FIELDS_INVALID"),
    "no fields": (_no_fields, "FIELDS_INVALID"),
    "called a response": (_relabelled_close, "PART_UNEXPECTED"),
    "called a part of a stream": (_unknown_type, "PART_UNEXPECTED"),
    "a path of 17 steps": (_long_path, "FRAME_UNEXPECTED"),
    "a step too many": (_path_too_long_for_its_leaf, "SIGNATURE_INVALID"),
    "another leaf": (_wrong_leaf, "SIGNATURE_INVALID"),
    "a leaf beyond its batch": (_leaf_beyond_the_batch, "FRAME_UNEXPECTED"),
    "a batch of none": (_no_batch, "FRAME_UNEXPECTED"),
    "no status of the certificate": (_no_status, "CERTIFICATE_STATUS_UNKNOWN"),
    "no signature": (_no_signature, "FRAME_UNEXPECTED"),
    "no certificate named": (_no_thumbprint, "FRAME_UNEXPECTED"),
}


@pytest.mark.parametrize("altered", ALTERED)
async def test_an_altered_part_is_refused(
    thief: Thief, stream: Stream, population: Population, altered: str
) -> None:
    alter, code = ALTERED[altered]
    asked = await thief.asked()
    answer = await thief.answer(stream, asked, lambda frame: alter(frame.part))
    population.has_refused(answer, asked, code)
    # Nothing of it was received: as it was signed, it still may be.
    assert isinstance(await thief.answer(stream, asked), VerifiedResponse)


async def test_a_part_comes_with_the_row_hash_of_its_senders_record(
    thief: Thief, stream: Stream, population: Population
) -> None:
    def without(frame: Frame) -> None:
        frame.row_hash = b""

    asked = await thief.asked()
    answer = await thief.answer(stream, asked, without)
    population.has_refused(answer, asked, "FRAME_UNEXPECTED")


# It is signed so, and says what it must not.


ODD_FIELDS: dict[str, Callable[[tuple[Field, ...]], tuple[Field, ...]]] = {
    "two bodies": lambda fields: (fields[0], *fields),
    "no body": lambda fields: fields[1:],
    "a field of a response": lambda fields: (
        *fields,
        Field.salted(Tag.STATUS_MESSAGE, b"well"),
    ),
    "a tag of nothing": lambda fields: (*fields, Field(77, b"\0" * 32, b"")),
    "no person as subject": lambda fields: (
        fields[0],
        Field.salted(Tag.SUBJECT, b"everybody"),
    ),
}


@pytest.mark.parametrize("odd", ODD_FIELDS)
async def test_fields_that_have_no_place_are_refused_though_signed(
    thief: Thief, stream: Stream, population: Population, odd: str
) -> None:
    asked = await thief.asked()
    fields = ODD_FIELDS[odd](asked.message.part.fields)
    head = Open.FromString(asked.message.part.head)
    head.fields_root = fields_root(fields)
    part = Part(asked.message.part.type, head.SerializeToString(), fields)
    asked = await thief.signed(asked, part)
    population.has_refused(await thief.answer(stream, asked), asked, "FIELDS_INVALID")


def _no_identities(head: Open) -> None:
    head.ClearField("identities")


def _odd_message_id(head: Open) -> None:
    head.identities.message_id = head.identities.message_id.upper()


def _odd_member(head: Open) -> None:
    head.identities.client.member.member_code = "70000349/tax"


def _odd_trace_id(head: Open) -> None:
    head.trace_id = b"\1\2\3"


def _no_disclosure_class(head: Open) -> None:
    head.ClearField("disclosure_class")


def _unknown_disclosure_class(head: Open) -> None:
    head.disclosure_class = exchange_pb2.DisclosureClass.ValueType(77)


def _odd_time(head: Open) -> None:
    head.issued_at.seconds = 1 << 60


def _more_follow(head: Open) -> None:
    head.more_follow = True


ODD_HEADS: dict[str, Callable[[Open], None]] = {
    "no identities": _no_identities,
    "a message id in capitals": _odd_message_id,
    "a member that is a path": _odd_member,
    "a trace id of three octets": _odd_trace_id,
    "no disclosure class": _no_disclosure_class,
    "an unknown disclosure class": _unknown_disclosure_class,
    "a time in no calendar": _odd_time,
    "a stream is announced": _more_follow,
}


@pytest.mark.parametrize("odd", ODD_HEADS)
async def test_a_head_that_says_what_it_must_not_is_refused_though_signed(
    thief: Thief, stream: Stream, population: Population, odd: str
) -> None:
    asked = await thief.asked()
    head = Open.FromString(asked.message.part.head)
    ODD_HEADS[odd](head)
    part = replace(asked.message.part, head=head.SerializeToString())
    asked = await thief.signed(asked, part)
    population.has_refused(await thief.answer(stream, asked), asked, "HEAD_INVALID")


async def test_a_head_that_is_no_message_is_refused_though_signed(
    thief: Thief, stream: Stream, population: Population
) -> None:
    asked = await thief.asked()
    asked = await thief.signed(asked, replace(asked.message.part, head=b"\xff"))
    population.has_refused(await thief.answer(stream, asked), asked, "HEAD_INVALID")


async def test_a_signed_response_is_no_request(
    thief: Thief, stream: Stream, population: Population
) -> None:
    """Neither the server's own, nor one of the peer's, nor one called a request."""
    asked = await thief.asked()
    answer = await thief.answer(stream, asked)
    own = replace(asked, message=answer.message)
    request = thief.request()
    close = Close.answering(
        asked.message.part, request, Response(0, b"well"), utc_now()
    )
    (message,) = sign_batch([encode_close(close)], await thief.credential(thief.tax))
    for offered in (own, Asked(request, message)):
        said = await thief.answer(stream, offered)
        assert refused(said) == ("PART_UNEXPECTED", "NOT_EXECUTED", population.id)

        def relabel(frame: Frame) -> None:
            frame.part.type = "ristmik.open.v1"

        said = await thief.answer(stream, offered, relabel)
        assert refused(said) == ("SIGNATURE_INVALID", "NOT_EXECUTED", population.id)
    assert population.received(asked) == 1


# It is not for this server, or not from the one it names.


def _for_another(thief: Thief) -> dict[str, Any]:
    return {"provider_server": thief.health.server}


def _of_another(thief: Thief) -> dict[str, Any]:
    return {"consumer_server": thief.health.server}


def _elsewhere(thief: Thief) -> dict[str, Any]:
    return {"client": thief.request().identities.service.provider}


def _nowhere(thief: Thief) -> dict[str, Any]:
    return {"client": replace(thief.request().identities.client, code="toll")}


NAMED: dict[str, tuple[Callable[[Thief], dict[str, Any]], str]] = {
    "a message for another server": (_for_another, "PEER_MISMATCH"),
    "a message of another server": (_of_another, "PEER_MISMATCH"),
    "a client registered elsewhere": (_elsewhere, "NOT_REGISTERED"),
    "a client registered nowhere": (_nowhere, "NOT_REGISTERED"),
}


@pytest.mark.parametrize("named", NAMED)
async def test_what_names_others_is_refused(
    thief: Thief, stream: Stream, population: Population, named: str
) -> None:
    changed, code = NAMED[named]
    asked = await thief.asked(thief.request(**changed(thief)))
    population.has_refused(await thief.answer(stream, asked), asked, code)


async def test_a_part_is_not_believed_from_another_server_that_hands_it_over(
    thief: Thief, population: Population
) -> None:
    asked = await thief.asked()
    async with thief.stream(thief.health) as stream:
        answer = await thief.answer(stream, asked)
        population.has_refused(answer, asked, "PEER_MISMATCH")
    async with thief.stream(thief.tax) as stream:
        assert isinstance(await thief.answer(stream, asked), VerifiedResponse)


# A batch.


async def test_a_bad_leaf_of_a_batch_fails_alone(
    thief: Thief, stream: Stream, population: Population
) -> None:
    requests = [thief.request() for _ in range(16)]
    parts = [(await thief.asked(request)).message.part for request in requests]
    messages = sign_batch(parts, await thief.credential(thief.tax))
    batch = [Asked(*pair) for pair in zip(requests, messages, strict=True)]
    frames = [thief.frame(asked, number) for number, asked in enumerate(batch, 1)]
    _head(frames[6].part)
    await stream.say(*frames)
    heard = await stream.answers(*range(1, 17))
    answers = [
        thief.verified(heard[frame.exchange_id], asked, frame)
        for frame, asked in zip(frames, batch, strict=True)
    ]
    bad, bad_asked = answers.pop(6), batch.pop(6)
    population.has_refused(bad, bad_asked, "SIGNATURE_INVALID")
    assert all(isinstance(answer, VerifiedResponse) for answer in answers)
    assert [population.received(asked) for asked in batch] == [1] * 15
