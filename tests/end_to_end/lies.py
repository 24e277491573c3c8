"""What a rogue provider's server says instead of an answer, and what it is called.

Each is told with real keys to a server that waits for an answer to `asked`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from messaging.envelope import Identities, Response
from messaging.parts import Direction, Link, PartReference, Totals
from messaging.transport import MESSAGE_LIMIT, METADATA_LIMIT
from protos.v1.exchange_pb2 import Frame
from tests.end_to_end.desk import note
from tests.end_to_end.hostile import Asked
from tests.end_to_end.rogue import Lie, Rogue
from tests.pki import Pki
from vocabulary.clock import utc_now
from vocabulary.imprint import Imprint

FORGED: Final = Response(0, note("a lie"))
LARGE: Final = (("key", b"v" * METADATA_LIMIT),)
OTHER: Final = Imprint.of(b"another")


def answering(response: Response = FORGED, **changed: Any) -> Lie:
    """Sign an answer, with fields of the CLOSE changed as told."""
    return lambda rogue, asked, _: [rogue.answer(asked, response, **changed)]


def altered(alter: Callable[[Frame], Any]) -> Lie:
    """Alter an answer after it was signed."""

    def lie(rogue: Rogue, asked: Asked, _: Any) -> Sequence[Frame]:
        frame = rogue.answer(asked, FORGED)
        alter(frame)
        return [frame]

    return lie


def speaking_of(change: Callable[[Rogue, Identities], dict[str, Any]]) -> Lie:
    """Answer with other identities than those that were asked."""

    def lie(rogue: Rogue, asked: Asked, _: Any) -> Sequence[Frame]:
        named = asked.request.identities
        other = replace(named, **change(rogue, named))
        return [rogue.answer(asked, FORGED, identities=other)]

    return lie


def refusing(change: Callable[[Rogue, Asked], dict[str, Any]]) -> Lie:
    """Refuse, with fields of the fault changed as told."""
    return lambda rogue, asked, _: [rogue.fault(asked, **change(rogue, asked))]


def _of_another_service(rogue: Rogue, asked: Asked, _: Any) -> Sequence[Frame]:
    """Speak with the key of another service's member, of a service of its own."""
    service = rogue.thief.request().identities.service
    other = replace(asked.request.identities, service=service)
    by = rogue.credential(rogue.thief.population)
    return [rogue.answer(asked, FORGED, by=by, identities=other)]


def _unapproved(rogue: Rogue, asked: Asked, _: Any) -> Sequence[Frame]:
    pki = Pki(utc_now)
    key, signing = pki.signing(rogue.keys.server.owner)
    certificate = signing.certificate
    by = rogue.thief.credential_of(key, certificate, pki.ocsp(certificate))
    return [rogue.answer(asked, FORGED, by=by)]


def _without_evidence(rogue: Rogue, asked: Asked, _: Any) -> Sequence[Frame]:
    by = rogue.credential_as_of(timedelta(seconds=3))
    frame = rogue.answer(asked, FORGED, by=by)
    frame.ClearField("evidence")
    return [frame]


def _with_junk(frame: Frame) -> None:
    frame.evidence.append(bytes((64 << 10) + 1))


def _another_body(frame: Frame) -> None:
    frame.part.fields[0].value = note("another lie")


def _fault_as_answer(rogue: Rogue, asked: Asked, _: Any) -> Sequence[Frame]:
    """Put a fault that refuses another request where an answer stands."""
    fault = rogue.fault(asked, refused=OTHER)
    return [Frame(part=fault.fault, row_hash=fault.row_hash, evidence=fault.evidence)]


ANSWERS: Final[dict[str, tuple[Lie, str]]] = {
    # Not what was asked.
    "to another message": (
        speaking_of(
            lambda _, __: {"message_id": "01890000-0000-7000-8000-000000000001"}
        ),
        "RESPONSE_INCONSISTENT",
    ),
    "to the same message, signed another time": (
        answering(link=Link(OTHER, Direction.RESPONSE, 0)),
        "RESPONSE_INCONSISTENT",
    ),
    "of another method": (
        speaking_of(lambda _, __: {"method": "desk.v1.Desk/Wait"}),
        "RESPONSE_INCONSISTENT",
    ),
    "to another client": (
        speaking_of(lambda _, named: {"client": replace(named.client, code="toll")}),
        "RESPONSE_INCONSISTENT",
    ),
    "to a part that was not sent": (
        answering(last_request_part=PartReference(1, OTHER)),
        "RESPONSE_INCONSISTENT",
    ),
    "the second part of it": (
        lambda rogue, asked, _: [
            rogue.answer(
                asked,
                FORGED,
                link=Link(asked.message.part.imprint, Direction.RESPONSE, 1),
            )
        ],
        "RESPONSE_INCONSISTENT",
    ),
    "with other totals": (
        answering(response_totals=Totals(2, 1 << 40)),
        "RESPONSE_INCONSISTENT",
    ),
    "the request itself": (
        lambda rogue, asked, _: [rogue.frame(asked.message)],
        "PART_UNEXPECTED",
    ),
    "the request, signed anew": (
        lambda rogue, asked, _: [rogue.signed(asked.message.part)],
        "PART_UNEXPECTED",
    ),
    # Not as it was signed.
    "another body": (altered(_another_body), "FIELDS_INVALID"),
    "no body": (altered(lambda frame: frame.part.fields.pop()), "FIELDS_INVALID"),
    "another head": (
        altered(lambda frame: setattr(frame.part, "head", frame.part.head + b"\x78\1")),
        "SIGNATURE_INVALID",
    ),
    "no row hash": (
        altered(lambda frame: frame.ClearField("row_hash")),
        "FRAME_UNEXPECTED",
    ),
    "a path of 17 steps": (
        altered(lambda frame: frame.part.path.extend([bytes(32)] * 17)),
        "FRAME_UNEXPECTED",
    ),
    "evidence over the limit": (altered(_with_junk), "LIMIT_EXCEEDED"),
    # Not from whom it must be.
    "signed by another member": (
        lambda rogue, asked, _: [
            rogue.answer(asked, FORGED, by=rogue.credential(rogue.thief.health))
        ],
        "SIGNER_MISMATCH",
    ),
    "signed by the caller's own member": (
        lambda rogue, asked, _: [
            rogue.answer(asked, FORGED, by=rogue.credential(rogue.thief.tax))
        ],
        "SIGNER_MISMATCH",
    ),
    "of another server": (
        speaking_of(lambda rogue, _: {"provider_server": rogue.thief.health.server}),
        "PEER_MISMATCH",
    ),
    "for another server": (
        speaking_of(lambda rogue, _: {"consumer_server": rogue.thief.health.server}),
        "PEER_MISMATCH",
    ),
    "of a service that is registered elsewhere": (
        _of_another_service,
        "NOT_REGISTERED",
    ),
    "of an unapproved authority": (_unapproved, "CERTIFICATE_INVALID"),
    "without its certificate's status": (
        altered(lambda frame: frame.part.ClearField("ocsp_imprint")),
        "CERTIFICATE_STATUS_UNKNOWN",
    ),
    "with a stale status": (
        lambda rogue, asked, _: [
            rogue.answer(
                asked, FORGED, by=rogue.credential_as_of(timedelta(seconds=65))
            )
        ],
        "CERTIFICATE_STATUS_UNKNOWN",
    ),
    "with evidence that never came": (_without_evidence, "REFERENCE_UNKNOWN"),
    # Not now, or not so much.
    "issued long ago": (
        lambda rogue, asked, _: [
            rogue.answer(asked, FORGED, issued_at=utc_now() - timedelta(minutes=7))
        ],
        "OUTSIDE_ACCEPTANCE_WINDOW",
    ),
    "a message over the limit": (
        answering(Response(0, bytes(MESSAGE_LIMIT + 1))),
        "LIMIT_EXCEEDED",
    ),
    "metadata over the limit": (
        answering(
            Response(0, note(""), trailing_metadata=(("k", b"v" * METADATA_LIMIT),))
        ),
        "LIMIT_EXCEEDED",
    ),
    # No persons at all.
    "about no persons": (
        answering(Response(0, note(""), subjects=("everybody",))),
        "FIELDS_INVALID",
    ),
}

FAULTS: Final[dict[str, tuple[Lie, str]]] = {
    "in another server's name": (
        refusing(lambda rogue, _: {"origin": rogue.thief.health.server}),
        "PEER_MISMATCH",
    ),
    "in the caller's own server's name": (
        refusing(lambda rogue, _: {"origin": rogue.thief.tax.server}),
        "PEER_MISMATCH",
    ),
    "in another server's name, with its owner's key": (
        refusing(
            lambda rogue, _: {
                "origin": rogue.thief.health.server,
                "by": rogue.credential(rogue.thief.health),
            }
        ),
        "PEER_MISMATCH",
    ),
    "with another member's key": (
        refusing(lambda rogue, _: {"by": rogue.credential(rogue.thief.health)}),
        "SIGNER_MISMATCH",
    ),
    "of another part": (
        refusing(lambda _, __: {"refused": OTHER}),
        "RESPONSE_INCONSISTENT",
    ),
    "of nothing": (refusing(lambda _, __: {"refused": None}), "RESPONSE_INCONSISTENT"),
    "of another message": (
        refusing(
            lambda _, asked: {
                "identities": replace(
                    asked.request.identities,
                    message_id="01890000-0000-7000-8000-000000000001",
                )
            }
        ),
        "RESPONSE_INCONSISTENT",
    ),
    "said long ago": (
        refusing(lambda _, __: {"issued_at": utc_now() - timedelta(minutes=7)}),
        "OUTSIDE_ACCEPTANCE_WINDOW",
    ),
    "in an answer's place": (_fault_as_answer, "RESPONSE_INCONSISTENT"),
}
