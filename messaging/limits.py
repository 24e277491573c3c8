"""How large a message and its metadata may be; LIMIT_EXCEEDED says which was larger.

The local leg refuses what is too large before it is signed. A peer may not have.
"""

from collections.abc import Iterable

from messaging.transport import MESSAGE_LIMIT, METADATA_LIMIT
from vocabulary.faults import LimitExceeded


def require_small_message(body: bytes) -> None:
    if len(body) > MESSAGE_LIMIT:
        raise LimitExceeded(
            f"message: {len(body)} octets, and {MESSAGE_LIMIT} is the limit; "
            "ask for less at a time"
        )


def require_small_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> None:
    """Count keys and values, as octets."""
    octets = sum(len(key) + len(value) for key, value in metadata)
    if octets > METADATA_LIMIT:
        raise LimitExceeded(
            f"metadata: {octets} octets, and {METADATA_LIMIT} is the limit; send less "
            "of it, or put it in the message"
        )
