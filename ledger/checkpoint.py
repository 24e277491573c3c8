"""Checkpoints: origin, size and root of a log, as a C2SP signed note.

Formats are those of c2sp.org/signed-note and c2sp.org/tlog-checkpoint. Only Ed25519
(type 1) is taken for a log's own signature; lines by keys that are not known are
ignored, and a known key whose line fails spoils the note. Everything raises
CheckpointInvalid.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from ledger.merkle import HASH_OCTETS
from vocabulary.durable import create_file
from vocabulary.identifiers import SecurityServerId
from vocabulary.imprint import Imprint

ED25519 = b"\x01"
_KEY_OCTETS = 32
_KEY_ID_OCTETS = 4
# c2sp.org/signed-note: accept at least 16 signatures, bound the total. One by ML-DSA-44
# has 3.3 kB.
SIGNATURES_LIMIT = 32
NOTE_LIMIT = 128 * 1024
_TEXT_LINES = 3
_SEPARATOR = b"\n\n"
_DASH = "— "
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f]")
# No leading zeros; 2^63 - 1 is what PostgreSQL can count to.
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


class CheckpointInvalid(ValueError):
    """A note that no known key has signed, or that is no checkpoint."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Who may sign a note: c2sp.org/signed-note, "Verifier keys"."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not self.name or re.search(r"[\s+]", self.name):
            raise CheckpointInvalid(f"not a key name: {self.name!r}")
        if len(self.public_key) != _KEY_OCTETS:
            raise CheckpointInvalid("an Ed25519 public key has 32 octets")

    @property
    def id(self) -> bytes:
        named = self.name.encode() + b"\n" + ED25519 + self.public_key
        return hashlib.sha256(named).digest()[:_KEY_ID_OCTETS]

    def __str__(self) -> str:
        key = base64.b64encode(ED25519 + self.public_key).decode()
        return f"{self.name}+{self.id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> Self:
        name, key_id, key = [*text.split("+", 2), "", ""][:3]
        octets = _from_base64(key)
        if octets[:1] != ED25519:
            raise CheckpointInvalid(f"not the vkey of an Ed25519 key: {text[:200]!r}")
        parsed = cls(name, octets[1:])
        if parsed.id.hex() != key_id:
            raise CheckpointInvalid(f"a vkey whose id is not its key's: {text[:200]!r}")
        return parsed


@dataclass(frozen=True, slots=True)
class NoteSignature:
    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A note that was parsed and not yet believed."""

    text: bytes
    signatures: tuple[NoteSignature, ...]

    def verify(self, keys: Iterable[VerifierKey]) -> VerifierKey:
        """Give the first known key that has signed; all known ones must have."""
        known = {(key.name, key.id): key for key in keys}
        signers = []
        for line in self.signatures:
            if key := known.get((line.name, line.key_id)):
                _verify_ed25519(key, line.signature, self.text)
                signers.append(key)
        if not signers:
            raise CheckpointInvalid("signed by none of the known keys")
        return signers[0]


def parse_note(note: bytes) -> SignedNote:
    if len(note) > NOTE_LIMIT:
        raise CheckpointInvalid(f"a note of {len(note)} octets, {NOTE_LIMIT} at most")
    end = note.rfind(_SEPARATOR)
    if end < 0 or not note.endswith(b"\n") or _CONTROL.search(note):
        raise CheckpointInvalid("not a signed note: no text and signatures in lines")
    try:
        note.decode()
    except UnicodeDecodeError as error:
        raise CheckpointInvalid("a signed note is UTF-8") from error
    lines = note[end + len(_SEPARATOR) :].decode().splitlines()
    if not 0 < len(lines) <= SIGNATURES_LIMIT:
        raise CheckpointInvalid(f"{len(lines)} signatures, 1 to {SIGNATURES_LIMIT}")
    return SignedNote(note[: end + 1], tuple(map(_parse_signature, lines)))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself; `note` is that, signed, verbatim."""

    origin: str
    size: int
    root: bytes
    note: bytes

    @property
    def imprint(self) -> Imprint:
        """What is time-stamped and anchored: the text and the signature together."""
        return Imprint.of(self.note)


@dataclass(frozen=True, slots=True)
class RoundCheckpoint(Checkpoint):
    """The checkpoint that closed a round of this ledger."""

    round: int


def verify_checkpoint(note: bytes, keys: Iterable[VerifierKey]) -> Checkpoint:
    """Believe a checkpoint: one of `keys` has signed it, and is named as its origin."""
    signed = parse_note(note)
    key = signed.verify(keys)
    origin, size, root = _parse_text(signed.text)
    if origin != key.name:
        raise CheckpointInvalid(f"{key.name!r} has signed for the log {origin!r}")
    return Checkpoint(origin, size, root, note)


def log_name(server: SecurityServerId) -> str:
    """Origin of a server's log, and name of the key that signs for it."""
    return f"{server}/log"


class LogKey:
    """The key that signs a log's checkpoints, and the name it signs under."""

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self.verifier = VerifierKey(name, private_key.public_key().public_bytes_raw())

    @property
    def origin(self) -> str:
        return self.verifier.name

    @property
    def vkey(self) -> str:
        return str(self.verifier)

    @classmethod
    def generate(cls, name: str) -> Self:
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; ValueError if it is something else."""
        words = path.read_text().rstrip("\n").split("+", 4)
        try:
            private, key, name, _, secret = words
            octets = _from_base64(secret)
        except ValueError as error:
            raise ValueError(f"{path} holds no log key") from error
        if (private, key, octets[:1]) != ("PRIVATE", "KEY", ED25519):
            raise ValueError(f"{path} holds no Ed25519 log key")
        return cls(name, Ed25519PrivateKey.from_private_bytes(octets[1:]))

    def save(self, path: Path) -> None:
        """Write it for this user alone, durably, in the form that Go's note tools read.

        Raises FileExistsError rather than replace a key: a log has one at a time.
        """
        secret = base64.b64encode(ED25519 + self._private_key.private_bytes_raw())
        text = f"PRIVATE+KEY+{self.origin}+{self.verifier.id.hex()}+{secret.decode()}\n"
        create_file(path, text.encode())

    def sign(self, size: int, root: bytes) -> Checkpoint:
        text = checkpoint_text(self.origin, size, root)
        signed = self.verifier.id + self._private_key.sign(text)
        line = f"{_DASH}{self.origin} {base64.b64encode(signed).decode()}\n"
        return Checkpoint(self.origin, size, root, text + b"\n" + line.encode())


def checkpoint_text(origin: str, size: int, root: bytes) -> bytes:
    """c2sp.org/tlog-checkpoint: what is signed."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()


def _parse_text(text: bytes) -> tuple[str, int, bytes]:
    lines = text.decode().split("\n")[:-1]
    if len(lines) < _TEXT_LINES or not all(lines):
        raise CheckpointInvalid("a checkpoint is origin, size and root, a line each")
    origin, size, root = lines[:_TEXT_LINES]
    octets = _from_base64(root)
    if not _DECIMAL.fullmatch(size) or len(octets) != HASH_OCTETS:
        raise CheckpointInvalid(f"not a checkpoint of size {size!r} and root {root!r}")
    return origin, int(size), octets


def _parse_signature(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not (line.startswith(_DASH) and name and space):
        raise CheckpointInvalid(f"not a signature line: {line[:200]!r}")
    octets = _from_base64(encoded)
    if len(octets) <= _KEY_ID_OCTETS:
        raise CheckpointInvalid(f"a signature line without one: {line[:200]!r}")
    return NoteSignature(name, octets[:_KEY_ID_OCTETS], octets[_KEY_ID_OCTETS:])


def _verify_ed25519(key: VerifierKey, signature: bytes, text: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, text)
    except InvalidSignature as error:
        raise CheckpointInvalid(f"{key.name!r} has not signed this note") from error


def _from_base64(text: str) -> bytes:
    """RFC 4648 section 4, in its one spelling."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointInvalid(f"not base64: {text[:200]!r}") from error
    if base64.b64encode(octets).decode() != text:
        raise CheckpointInvalid(f"not the one spelling of base64: {text[:200]!r}")
    return octets
