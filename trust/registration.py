"""What may be registered: each parser gives its text back, or raises ValueError.

The registry asks before it accepts, and every reader of a global configuration asks
again, so that nothing a registry can publish is a surprise to a security server.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from vocabulary.identifiers import SecurityServerId

NAME_LIMIT: Final = 200
ADDRESS_LIMIT: Final = 255

_PORTS = range(1, 1 << 16)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
# Printable ASCII: a code travels as metadata, which has no room for anything else.
_CODE = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
# C2SP signed-note: name+hash+base64(algorithm ‖ key). Ed25519 is 33 octets.
_CHECKPOINT_KEY = re.compile(r"([!-*,-~]+)\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}")


def parse_name(text: str) -> str:
    if not text.strip() or len(text) > NAME_LIMIT or not text.isprintable():
        raise ValueError(
            f"not a name, which is 1 to {NAME_LIMIT} printable characters: "
            f"{text[:NAME_LIMIT]!r}"
        )
    return text


def parse_address(text: str) -> str:
    """Give host:port back; an IPv6 host is in brackets."""
    host, _, port = text.rpartition(":")
    well_formed = _HOST.fullmatch(host) and len(text) <= ADDRESS_LIMIT
    if not well_formed or not re.fullmatch("[0-9]{1,5}", port, re.ASCII):
        raise ValueError(f"not a host:port address: {text[:ADDRESS_LIMIT]!r}")
    if int(port) not in _PORTS:
        raise ValueError(f"not a port from 1 to 65535: {port}")
    return text


def parse_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"not an http or https URL: {text[:ADDRESS_LIMIT]!r}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"not a URL in ASCII: {text[:ADDRESS_LIMIT]!r}")
    return text


def parse_code(text: str) -> str:
    """Give the code of a purpose or legal basis back."""
    if not _CODE.fullmatch(text):
        raise ValueError(f"not a code of 1 to 128 ASCII characters: {text[:128]!r}")
    return text


def parse_checkpoint_key(text: str, *, server: SecurityServerId) -> str:
    """Give a C2SP verifier key back that is named for a log of `server`."""
    match = _CHECKPOINT_KEY.fullmatch(text)
    if not match:
        raise ValueError(f"not an Ed25519 C2SP verifier key: {text[:200]!r}")
    if not match[1].startswith(f"{server}/"):
        raise ValueError(f"a verifier key of {match[1]}, which is no log of {server}")
    return text
