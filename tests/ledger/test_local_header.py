"""One value, one encoding; anything else is refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.local_header import LocalHeader, microseconds, moment_of
from ledger.record import Kind
from tests.ledger.strategies import headers, moments

LEAST = LocalHeader(Kind.ERASURE, 1, b"r" * 16)


def item(tag: int, value: bytes) -> bytes:
    return struct.pack(">HI", tag, len(value)) + value


KIND = item(1, b"\x0b")
RECORDED_AT = item(2, (1).to_bytes(8, "big"))
RECORD_ID = item(3, b"r" * 16)
WHOLE = KIND + RECORDED_AT + RECORD_ID
SIGNED = item(10, b"s") + item(11, struct.pack(">II", 0, 1))
CERTIFICATE = item(13, bytes(32))


@given(headers)
def test_what_is_encoded_is_decoded(header: LocalHeader) -> None:
    assert LocalHeader.decode(header.encode()) == header


@given(headers, st.data())
def test_no_other_octets_say_the_same(header: LocalHeader, data: st.DataObject) -> None:
    octets = header.encode()
    at = data.draw(st.integers(0, len(octets) - 1))
    flipped = bytearray(octets)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = LocalHeader.decode(bytes(flipped))
    except ValueError:
        return
    assert other != header
    assert other.encode() == bytes(flipped)


@given(st.binary(max_size=200))
def test_whatever_decodes_is_the_one_encoding(octets: bytes) -> None:
    try:
        header = LocalHeader.decode(octets)
    except ValueError:
        return
    assert header.encode() == octets


def test_the_least_header() -> None:
    assert LEAST.encode() == WHOLE
    assert LocalHeader.decode(WHOLE + SIGNED + CERTIFICATE).evidence is not None


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        WHOLE[:-1],
        WHOLE + b"\0",
        KIND + RECORDED_AT,
        KIND + RECORD_ID,
        RECORDED_AT + RECORD_ID,
        RECORDED_AT + KIND + RECORD_ID,
        WHOLE + RECORD_ID,
        item(1, b"\0\x0b") + RECORDED_AT + RECORD_ID,
        item(1, b"\0") + RECORDED_AT + RECORD_ID,
        item(1, b"\xff") + RECORDED_AT + RECORD_ID,
        KIND + item(2, bytes(7)) + RECORD_ID,
        KIND + RECORDED_AT + item(3, bytes(15)),
        WHOLE + item(4, bytes(31)),
        WHOLE + item(5, bytes(4)),
        WHOLE + item(5, b"\xff\0\0\0"),
        WHOLE + item(6, b"\0"),
        WHOLE + item(7, bytes(32)),
        WHOLE + item(8, bytes(8)),
        WHOLE + item(7, bytes(32)) + item(8, b"\xff" * 8),
        WHOLE + item(9, b""),
        WHOLE + item(9, b"\0"),
        WHOLE + item(9, b"\0\2\0\1"),
        WHOLE + item(9, b"\0\1\0\1"),
        WHOLE + SIGNED,
        WHOLE + CERTIFICATE,
        WHOLE + item(10, b"") + SIGNED[7:] + CERTIFICATE,
        WHOLE + item(10, b"s") + item(11, struct.pack(">II", 1, 1)) + CERTIFICATE,
        WHOLE + SIGNED + item(12, b"") + CERTIFICATE,
        WHOLE + SIGNED + item(12, bytes(33)) + CERTIFICATE,
        WHOLE + SIGNED + item(12, bytes(32 * 17)) + CERTIFICATE,
        WHOLE + SIGNED + CERTIFICATE + item(14, bytes(33)),
        WHOLE + SIGNED + CERTIFICATE + item(15, b"\2" + bytes(32)),
        WHOLE + item(16, b"\1"),
        item(0, b"\1") + WHOLE,
    ],
)
def test_what_is_no_local_header(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        LocalHeader.decode(octets)


@given(moments)
def test_time_is_kept_to_the_microsecond(moment) -> None:
    assert moment_of(microseconds(moment)) == moment
