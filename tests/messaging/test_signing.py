"""One signature over a batch: each leaf is believed alone, and fails alone."""

from dataclasses import replace

import pytest

from ledger.merkle import root_of_path
from ledger.record import Evidence
from messaging.parts import Open, Part
from messaging.signing import (
    SignedBatches,
    SignedPart,
    batch_statement,
    sign_batch,
)
from messaging.wire.heads import encode_open
from tests.world import NOW, World, message_id, request
from trust.certificates import Algorithm
from vocabulary.faults import SignatureInvalid

WORLD = World()
CREDENTIAL = WORLD.tax.credential()


def batch(size):
    parts = [
        encode_open(Open(request(message_id=message_id(number)), NOW))
        for number in range(size)
    ]
    return sign_batch(parts, CREDENTIAL)


def verify(message: SignedPart) -> None:
    SignedBatches().verify(message.part.leaf, message.evidence, CREDENTIAL.certificate)


@pytest.mark.parametrize("size", [1, 3, 16, 256])
def test_every_leaf_is_believed_alone(size):
    messages = batch(size)
    assert len({message.evidence.signature for message in messages}) == 1
    for message in messages:
        verify(message)


@pytest.mark.parametrize("size", [1, 3, 16])
def test_a_bad_leaf_fails_alone(size):
    *good, last = batch(size)
    bad = Part(last.part.type, last.part.head + b"\0", last.part.fields)
    with pytest.raises(SignatureInvalid):
        verify(replace(last, part=bad))
    for message in good:
        verify(message)


@pytest.mark.parametrize(
    "changed",
    [
        {"leaf_index": 1},
        {"leaf_count": 4},
        {"leaf_count": 1},
        {"path": ()},
        {"path": (b"\0" * 32,) * 2},
        {"signature": b"\0"},
    ],
    ids=str,
)
def test_evidence_is_for_one_leaf_of_one_batch(changed):
    message = batch(3)[0]
    with pytest.raises(SignatureInvalid):
        verify(replace(message, evidence=replace(message.evidence, **changed)))


def test_a_batch_beyond_16_steps_is_refused_though_it_was_signed():
    part = encode_open(Open(request(), NOW))
    path, count = (b"\0" * 32,) * 16, (1 << 16) + 1
    certificate = CREDENTIAL.certificate
    # The last leaf of such a tree has a path of one step only.
    root = root_of_path(part.leaf, count - 1, count, path[:1])
    statement = batch_statement(
        certificate.algorithm, certificate.thumbprint, count, root
    )
    signature = CREDENTIAL.key.sign(statement)
    evidence = Evidence(signature, count - 1, count, path[:1], certificate.thumbprint)
    with pytest.raises(SignatureInvalid):
        verify(SignedPart(part, evidence))


@pytest.mark.parametrize("algorithm", Algorithm)
def test_all_algorithms_sign_and_verify_behind_one_interface(algorithm):
    key, signing = WORLD.pki.signing(request().identities.client.member, algorithm)
    credential = replace(CREDENTIAL, key=key, certificate=signing.certificate)
    (message,) = sign_batch([encode_open(Open(request(), NOW))], credential)
    SignedBatches().verify(message.part.leaf, message.evidence, signing.certificate)
    with pytest.raises(SignatureInvalid):
        SignedBatches().verify(
            message.part.leaf, message.evidence, CREDENTIAL.certificate
        )


def test_a_batch_that_was_verified_once_vouches_for_its_own_parts_only():
    batches, certificate = SignedBatches(), CREDENTIAL.certificate
    first, *others = batch(4)
    batches.verify(first.part.leaf, first.evidence, certificate)
    for other in others:
        batches.verify(other.part.leaf, other.evidence, certificate)
        with pytest.raises(SignatureInvalid):
            batches.verify(b"\0" * 32, other.evidence, certificate)
    stranger = World().tax.credential().certificate
    with pytest.raises(SignatureInvalid):
        batches.verify(first.part.leaf, first.evidence, stranger)
