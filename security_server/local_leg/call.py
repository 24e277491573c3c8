"""One call on the local leg: how it came, how long it may take, what it asks."""

import asyncio
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final, cast
from urllib.parse import unquote

from messaging.envelope import Request
from messaging.transport import MESSAGE_LIMIT, Context
from security_server.call_metadata import CallerMetadata
from vocabulary.identifiers import SubsystemId

# What is kept of the caller's time for the way back.
_RESERVED_S: Final = 0.5
_RESERVED_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    message_octets: int = MESSAGE_LIMIT
    exchanges_per_client: int = 1_000
    # Of a call that names no deadline, and of one that names a later one.
    timeout_s: float = 60.0
    longest_timeout_s: float = 300.0


class Call:
    """What is known of it so far; each step of LocalService adds to it."""

    def __init__(
        self,
        method: str,
        context: Context,
        limits: Limits,
        *,
        socket_of: SubsystemId | None,
    ) -> None:
        # Full name, without a leading slash.
        self.method = method
        self.context = context
        self.metadata = CallerMetadata(context.invocation_metadata() or ())
        self.socket_of = socket_of
        # Once it is believed; from then on what is refused is recorded.
        self.client: SubsystemId | None = None
        # Once it can be said who asks what of whom.
        self.request: Request | None = None
        # From here on the walk records what becomes of it.
        self.walking = False
        # None where the caller names no deadline, whatever grpc's types say.
        named = cast("float | None", context.time_remaining())
        whole = limits.timeout_s if named is None else named
        self.time_s = max(0.0, min(whole, limits.longest_timeout_s))
        self._reserved_s = min(_RESERVED_S, self.time_s * _RESERVED_SHARE)
        self._began = asyncio.get_running_loop().time()

    @property
    def left_s(self) -> float:
        """How long an answer may still take."""
        spent = asyncio.get_running_loop().time() - self._began
        return max(0.0, self.time_s - self._reserved_s - spent)

    @property
    def end(self) -> float:
        """When, by the loop's clock, it is time to give up and tell the caller."""
        return self._began + self.time_s - self._reserved_s / 2

    @property
    def last(self) -> float:
        """When, by the loop's clock, the caller is told, whatever is still open."""
        return self._began + self.time_s - self._reserved_s / 4

    @property
    def asked(self) -> Request:
        if self.request is None:
            raise RuntimeError("nothing is asked before the metadata was read")
        return self.request

    @property
    def over_socket(self) -> bool:
        return self.context.peer().startswith("unix:")

    @property
    def from_this_machine(self) -> bool:
        """Read what gRPC calls a peer: ipv4:127.0.0.1:41001, ipv6:[::1]:41001."""
        family, _, address = unquote(self.context.peer()).partition(":")
        if family not in {"ipv4", "ipv6"}:
            return False
        host = ip_address(address.rpartition(":")[0].strip("[]").partition("%")[0])
        mapped = host.ipv4_mapped if isinstance(host, IPv6Address) else None
        return (mapped or host).is_loopback
