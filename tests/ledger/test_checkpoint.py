"""Checkpoints against C2SP's vectors, and each thing that makes one worth nothing."""

import base64
from pathlib import Path

import pytest

from ledger.checkpoint import (
    CheckpointInvalid,
    LogKey,
    VerifierKey,
    checkpoint_text,
    log_name,
    parse_note,
    verify_checkpoint,
)
from ledger.merkle import EMPTY_ROOT, leaf_hash, tree_root
from vocabulary.identifiers import SecurityServerId
from vocabulary.imprint import Imprint

VECTORS = Path(__file__).parents[2] / "../shared/vectors/merkle"
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
ORIGIN = log_name(SecurityServerId.parse("EE/GOV/70000349/ss1"))
KEY = LogKey.generate(ORIGIN)
SIGNED = KEY.sign(7, b"\7" * 32)

vectors = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="the C2SP vectors are not beside the project"
)


def verifier(path: Path) -> VerifierKey:
    return VerifierKey.parse(path.read_text().strip())


@vectors
def test_the_example_of_the_specification() -> None:
    key = verifier(VECTORS / "signed-note/example.vkey")
    assert str(key) == VKEY
    note = parse_note((VECTORS / "signed-note/example.note").read_bytes())
    assert note.text == b"This is an example message.\n"
    assert note.verify([key]) == key


@vectors
def test_a_note_of_several_signatures_is_parsed() -> None:
    path = VECTORS / "signed-note/cosigned-checkpoint.parse-only.note"
    note = parse_note(path.read_bytes())
    names = [line.name for line in note.signatures]
    assert names == ["example.com/behind-the-sofa", "witness.example.com/w1"]


def entries_of(folder: Path) -> list[bytes]:
    """c2sp.org/tlog-tiles, "Log Entries": each after its length, u16."""
    (bundle,) = folder.glob("**/entries/**/15")
    octets, entries = bundle.read_bytes(), []
    while octets:
        length = int.from_bytes(octets[:2], "big")
        entries.append(octets[2 : 2 + length])
        octets = octets[2 + length :]
    return entries


@vectors
@pytest.mark.parametrize("size", [0, 10, 12, 13])
def test_checkpoints_of_a_foreign_log(size: int) -> None:
    folder = VECTORS / "tlog-tiles"
    note = (folder / f"checkpoint.{size}").read_bytes()
    told = verify_checkpoint(note, [verifier(folder / "log.vkey")])
    leaves = [leaf_hash(entry) for entry in entries_of(folder)[:size]]
    assert (told.size, told.root) == (size, tree_root(leaves))
    assert told.note == note


def test_what_was_signed_is_believed() -> None:
    told = verify_checkpoint(
        SIGNED.note, [LogKey.generate(ORIGIN).verifier, KEY.verifier]
    )
    assert told == SIGNED
    assert told.imprint == Imprint.of(SIGNED.note)
    # Deterministic: silence signs the same again.
    assert KEY.sign(7, b"\7" * 32) == SIGNED
    assert KEY.sign(0, EMPTY_ROOT).note.split(b"\n")[1] == b"0"


def test_a_line_of_an_unknown_key_is_ignored() -> None:
    other = LogKey.generate("witness.example").sign(7, b"\7" * 32).note
    line = other[other.rindex("—".encode()) :]
    assert verify_checkpoint(SIGNED.note + line, [KEY.verifier]).size == 7


def resigned(text: bytes, key: LogKey = KEY) -> bytes:
    line = key.verifier.id + key._private_key.sign(text)
    encoded = base64.b64encode(line).decode()
    return text + f"\n— {key.origin} {encoded}\n".encode()


@pytest.mark.parametrize(
    ("note", "why"),
    [
        (b"", "no text and signatures"),
        (SIGNED.note[:-1], "no text and signatures"),
        (SIGNED.note.replace(b"\n\n", b"\n"), "no text and signatures"),
        (SIGNED.note.replace(b"7", b"\t", 1), "no text and signatures"),
        (SIGNED.note.replace(b"\n7\n", b"\n8\n"), "has not signed"),
        (SIGNED.note.replace("— EE".encode(), b"- EE"), "not a signature line"),
        (SIGNED.note.replace("— EE".encode(), b"\xe2\x80\xff EE"), "UTF-8"),
        (SIGNED.note + b"\xe2\x80\x94 x\n", "not a signature line"),
        (SIGNED.note + "— x eA\n".encode(), "not base64"),
        (SIGNED.note + "— x eB==\n".encode(), "not the one spelling"),
        (SIGNED.note * 1000, "octets"),
        (SIGNED.note + b"\n", "0 signatures"),
        (SIGNED.note + "— x AAAA\n".encode(), "without one"),
        (LogKey.generate(ORIGIN).sign(7, b"\7" * 32).note, "none of the known keys"),
        (resigned(b"EE/other/log\n7\n" + base64.b64encode(bytes(32)) + b"\n"), "other"),
        (
            resigned(f"{ORIGIN}\n07\n".encode() + base64.b64encode(bytes(32)) + b"\n"),
            "size",
        ),
        (
            resigned(f"{ORIGIN}\n7\n".encode() + base64.b64encode(bytes(31)) + b"\n"),
            "size",
        ),
        (resigned(f"{ORIGIN}\n7\n".encode()), "a line each"),
    ],
)
def test_a_note_that_is_worth_nothing(note: bytes, why: str) -> None:
    with pytest.raises(CheckpointInvalid, match=why):
        verify_checkpoint(note, [KEY.verifier])


def test_too_many_signatures() -> None:
    line = SIGNED.note[SIGNED.note.rindex("—".encode()) :]
    assert verify_checkpoint(SIGNED.note + line * 31, [KEY.verifier]).size == 7
    with pytest.raises(CheckpointInvalid, match="33 signatures"):
        verify_checkpoint(SIGNED.note + line * 32, [KEY.verifier])


def test_extension_lines_are_signed_too() -> None:
    text = checkpoint_text(ORIGIN, 7, bytes(32)) + b"an extension\n"
    assert verify_checkpoint(resigned(text), [KEY.verifier]).size == 7


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "a+b",
        VKEY[:-1],
        VKEY.replace("530d", "530e"),
        " " + VKEY,
        "+" + VKEY,
    ],
)
def test_a_vkey_that_is_none(text: str) -> None:
    with pytest.raises(CheckpointInvalid):
        VerifierKey.parse(text)


def test_a_log_key_is_kept_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.key"
    KEY.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert LogKey.load(path).sign(7, b"\7" * 32) == SIGNED
    assert LogKey.load(path).vkey == KEY.vkey
    with pytest.raises(FileExistsError):
        LogKey.generate(ORIGIN).save(path)
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint.key"]
    for content in ("", "PRIVATE+KEY+x+y", "PUBLIC+KEY+x+00+AQ==", "PRIVATE+KEY+x+0+!"):
        path.write_text(content)
        with pytest.raises(ValueError, match="log key"):
            LogKey.load(path)
