"""What a security server is given by hand: where to ask, and whose word counts."""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from trust.algorithms import Algorithm, algorithm_of, verify
from trust.registration import parse_address
from vocabulary.durable import replace_file
from vocabulary.faults import (
    CertificateInvalid,
    ConfigurationInvalid,
    SignatureInvalid,
)
from vocabulary.identifiers import MemberId
from vocabulary.pae import pae

CONFIGURATION_TYPE: Final = "ristmik.configuration.v1"


@dataclass(frozen=True, slots=True)
class ConfigurationAnchor:
    """What a security server is given by hand: where to ask, and whose word counts."""

    instance: str
    # host:port of the registry.
    address: str
    # SubjectPublicKeyInfo, DER, of keys that may sign.
    signers: tuple[bytes, ...]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raise ConfigurationInvalid if the file is missing or no anchor."""
        try:
            return cls(*_parse(path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigurationInvalid(
                f"{path} is no configuration anchor ({error}); copy anchor.json from "
                "the registry, by a way that you trust"
            ) from error

    def save(self, path: Path) -> None:
        content = {
            "instance": self.instance,
            "address": self.address,
            "signers": [base64.b64encode(key).decode() for key in self.signers],
        }
        replace_file(path, json.dumps(content, indent=2).encode() + b"\n", mode=0o644)

    def verify(self, directory: bytes, signature: bytes, *, signer: bytes) -> None:
        """Raise ConfigurationInvalid unless `signer` is one of ours and has signed."""
        keys = {hashlib.sha256(key).digest(): key for key in self.signers}
        if signer not in keys:
            raise ConfigurationInvalid(
                "the global configuration is signed by a key that is not in the "
                "anchor; if the registry's key was changed, fetch its new anchor.json"
            )
        key, algorithm = _signer(keys[signer])
        signed = pae(CONFIGURATION_TYPE, directory)
        try:
            verify(key, algorithm, signature=signature, data=signed)
        except SignatureInvalid as error:
            raise ConfigurationInvalid(
                "the global configuration's signature is wrong: it was changed on the "
                f"way, or {self.address} is not the registry"
            ) from error


def _parse(text: bytes) -> tuple[str, str, tuple[bytes, ...]]:
    content = json.loads(text)
    instance, address = str(content["instance"]), str(content["address"])
    MemberId.parse(f"{instance}/class/code")
    signers = tuple(
        base64.b64decode(signer, validate=True) for signer in content["signers"]
    )
    if not signers:
        raise ValueError("it names no signer")
    for signer in signers:
        _signer(signer)
    return instance, parse_address(address), signers


def _signer(der: bytes) -> tuple[PublicKeyTypes, Algorithm]:
    try:
        key = load_der_public_key(der)
        return key, algorithm_of(key)
    except (UnsupportedAlgorithm, CertificateInvalid) as error:
        raise ValueError("a signer whose key is of a kind not taken here") from error
