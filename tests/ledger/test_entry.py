"""Row hashes, commitments and query columns against their definitions."""

import hashlib
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import entry_leaf, query_columns, row_hash
from ledger.fields import Field, Tag, commitments_of, commitments_root, fields_root
from ledger.local_header import LocalHeader
from ledger.merkle import EMPTY_ROOT, tree_root
from ledger.record import (
    Evidence,
    HeadSummary,
    Kind,
    LedgerRecord,
    Once,
    RecordedPart,
    new_record_id,
)
from tests.ledger.strategies import fields, hashes
from tests.ledger.world import START
from vocabulary.imprint import Imprint
from vocabulary.pae import pae

U64 = st.integers(0, (1 << 64) - 1)
PART = RecordedPart("ristmik.open.v1", b"head")


def summary(**changed) -> HeadSummary:
    told = {
        **dict.fromkeys(
            ("message_id", "client", "service", "method", "consumer_server"), ""
        ),
        **dict.fromkeys(("provider_server", "purpose", "legal_basis", "signer"), ""),
        **dict.fromkeys(("direction", "part", "status"), 0),
    }
    return HeadSummary(**told | changed, issued_at=START, fields_root=bytes(32))


@given(U64, U64, st.binary(max_size=40), st.none() | hashes, hashes, hashes)
def test_a_row_hash_is_what_the_page_says(
    seq, number, header, imprint, root, prev
) -> None:
    part = None if imprint is None else Imprint.sha2_256(imprint)
    preimage = b"\x03" + struct.pack(">QQ", seq, number)
    preimage += hashlib.sha256(header).digest()
    preimage += b"" if imprint is None else b"\x01" + imprint
    made = row_hash(
        seq=seq,
        round_number=number,
        local_header=header,
        imprint=part,
        fields_root=root,
        prev=prev,
    )
    assert made == hashlib.sha256(preimage + root + prev).digest()
    assert entry_leaf(made) == hashlib.sha256(b"\0" + made).digest()


def test_a_part_is_named_by_type_and_head() -> None:
    encoded = b"DSSEv1 15 ristmik.open.v1 4 head"
    assert pae(PART.type, PART.head) == encoded
    digest = hashlib.sha256(b"\0" + encoded).digest()
    assert PART.imprint == Imprint.sha2_256(digest)


@given(fields)
def test_fields_are_committed_to_in_their_order(of: tuple[Field, ...]) -> None:
    commitments = commitments_of(of)
    for field, commitment in zip(of, commitments, strict=True):
        preimage = b"\x02" + struct.pack(">H", field.tag) + field.salt + field.value
        assert commitment == hashlib.sha256(preimage).digest()
    assert fields_root(of) == commitments_root(commitments) == tree_root(commitments)


def test_fields_out_of_order_or_malformed() -> None:
    assert fields_root(()) == EMPTY_ROOT
    body, subject = Field.salted(Tag.BODY, b""), Field.salted(Tag.SUBJECT, b"")
    assert body.salt != subject.salt
    with pytest.raises(ValueError, match="out of order"):
        fields_root((subject, body))
    for malformed in (Field(1, bytes(31), b""), Field(1 << 16, bytes(32), b"")):
        with pytest.raises(ValueError, match="salt of"):
            malformed.commitment  # noqa: B018 - a property that raises


def test_columns_say_what_the_headers_say() -> None:
    header = LocalHeader(Kind.REQUEST_REFUSED, 5, bytes(16), fault_code=3, execution=1)
    bare = query_columns(header, None)
    assert bare[:4] == (3, datetime(1970, 1, 1, microsecond=5, tzinfo=UTC), 3, 1)
    assert set(bare[4:]) == {None}
    told = query_columns(header, summary(message_id="any text", client="x", part=7))
    assert (told.message_id, told.client, told.part, told.purpose) == (
        None,
        "x",
        7,
        None,
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"client": "a\x00b"},
        {"direction": 1 << 31},
        {"direction": -1},
        {"part": 1 << 63},
        {"status": -1},
    ],
)
def test_a_head_that_no_column_can_hold(changed) -> None:
    header = LocalHeader(Kind.PART_SENT, 5, bytes(16))
    with pytest.raises(ValueError, match="no column can"):
        query_columns(header, summary(**changed))


def evidence(**changed) -> Evidence:
    values = {
        "signature": b"s",
        "leaf_index": 0,
        "leaf_count": 1,
        "path": (),
        "certificate": bytes(32),
    }
    return Evidence(**values | changed)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LedgerRecord(Kind.PART_SENT, record_id=b"short"),
        lambda: LedgerRecord(Kind.PART_SENT, peer_row_hash=b"short"),
        lambda: LedgerRecord(Kind.PART_SENT, evidence=evidence()),
        lambda: LedgerRecord(Kind.PART_SENT, unopened=(0,)),
        lambda: LedgerRecord(Kind.PART_SENT, fault_code=-1),
        lambda: LedgerRecord(Kind.PART_SENT, execution=256),
        lambda: Once(bytes(31), START),
        lambda: Once(bytes(32), START.replace(tzinfo=None)),
        lambda: evidence(signature=b""),
        lambda: evidence(leaf_index=1),
        lambda: evidence(path=(b"short",)),
        lambda: evidence(path=(bytes(32),) * 17),
        lambda: evidence(certificate=b"short"),
    ],
)
def test_a_record_that_cannot_be(make) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()


def test_record_ids_are_uuids_of_version_7() -> None:
    made = [new_record_id() for _ in range(100)]
    assert len(set(made)) == 100
    assert {each[6] >> 4 for each in made} == {7}
    assert {each[8] >> 6 for each in made} == {0b10}
