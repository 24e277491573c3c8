"""Keep a current, verified global configuration.

The registry is asked every few seconds and never trusted: what it sends takes the place
of what is held only if it verifies as the next or a later one. What is held is on disk
before it is used, so a restart forgets no version that was ever acted on. A copy that
expired is still held, to compare with, and given to nobody.
"""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from secrets import SystemRandom
from typing import Final

import structlog
from grpc import aio

from messaging.transport import OPTIONS
from protos.v1.configuration_pb2 import GetGlobalConfigurationRequest
from protos.v1.configuration_pb2_grpc import GlobalConfigurationServiceStub
from trust.global_configuration import (
    ConfigurationAnchor,
    GlobalConfiguration,
    authenticate_configuration,
    verify_configuration,
)
from vocabulary.clock import Clock
from vocabulary.durable import replace_file
from vocabulary.faults import (
    ConfigurationExpired,
    ConfigurationInvalid,
    Fault,
    PeerUnreachable,
)

POLL_INTERVAL: Final = timedelta(seconds=2)
FETCH_TIMEOUT: Final = timedelta(seconds=5)
# gRPC would wait up to two minutes before it tries a registry again that was away.
_CHANNEL_OPTIONS: Final = (
    *OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.enable_http_proxy", 0),
)

log = structlog.get_logger()


class ConfigurationClient:
    """Holds the newest configuration seen; `path` is the file that it is kept in."""

    def __init__(
        self,
        anchor: ConfigurationAnchor,
        path: Path,
        clock: Clock,
        *,
        poll_interval: timedelta = POLL_INTERVAL,
    ) -> None:
        self._anchor = anchor
        self._path = path
        self._clock = clock
        self._poll_interval = poll_interval
        self._random = SystemRandom()
        self._channel: aio.Channel | None = None
        self._refreshing = asyncio.Lock()
        self._changed = asyncio.Condition()
        self.last_failure: Fault | OSError | None = None
        self.last_success: datetime | None = None
        self._held = self._load()

    def current(self) -> GlobalConfiguration:
        """Raise ConfigurationExpired when there is none that holds now."""
        if self._held is None:
            why = f" ({self.last_failure})" if self.last_failure else ""
            raise ConfigurationExpired(
                f"no global configuration was ever received{why}; see that the "
                f"registry runs and that {self._anchor.address} can be reached"
            )
        self._held.require_current(self._clock())
        return self._held

    async def newer_than(self, version: int) -> GlobalConfiguration:
        """Wait for a configuration with a higher version than that; 0 for any."""
        async with self._changed:
            while self._held is None or self._held.version <= version:
                await self._changed.wait()
            return self._held

    async def run(self) -> None:
        """Refresh for ever; on failure keep what is held and try again."""
        try:
            while True:
                await self._try_to_refresh()
                # Spread, so that a registry that comes back is not met by everyone.
                wait = self._poll_interval * self._random.uniform(0.5, 1.5)
                await asyncio.sleep(wait.total_seconds())
        finally:
            await self.close()

    async def refresh(self) -> GlobalConfiguration:
        """Ask the registry now, and hold what it answers.

        Raise PeerUnreachable if it does not answer, the faults of
        `verify_configuration` if that must not be held, OSError if it cannot be kept.
        """
        async with self._refreshing:
            try:
                signed = await self._fetch()
                held = await asyncio.to_thread(self._take, signed)
            except (Fault, OSError) as failure:
                self.last_failure = failure
                raise
            self.last_failure = None
            self.last_success = self._clock()
            await self._swap(held)
            return held

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def _try_to_refresh(self) -> None:
        before = self.last_failure
        try:
            await self.refresh()
        except (Fault, OSError) as failure:
            if str(failure) != str(before):
                log.warning(
                    "configuration_not_refreshed",
                    failure=type(failure).__name__,
                    detail=str(failure),
                )

    async def _fetch(self) -> bytes:
        if self._channel is None:
            self._channel = aio.insecure_channel(self._anchor.address, _CHANNEL_OPTIONS)
        try:
            answer = await GlobalConfigurationServiceStub(
                self._channel
            ).GetGlobalConfiguration(
                GetGlobalConfigurationRequest(), timeout=FETCH_TIMEOUT.total_seconds()
            )
        except aio.AioRpcError as error:
            raise PeerUnreachable(
                f"the registry at {self._anchor.address} gave no configuration "
                f"({error.code().name}: {error.details()}); see that it runs"
            ) from error
        # Only the envelope is written anew; the directory and parts in it are bytes.
        return answer.configuration.SerializeToString()

    def _take(self, signed: bytes) -> GlobalConfiguration:
        held, now = self._held, self._clock()
        if held is not None and held.signed == signed:
            held.require_current(now)
            return held
        new = verify_configuration(signed, anchor=self._anchor, previous=held, now=now)
        replace_file(self._path, signed)
        return new

    async def _swap(self, new: GlobalConfiguration) -> None:
        if new is self._held:
            return
        async with self._changed:
            self._held = new
            self._changed.notify_all()
        log.info("configuration_changed", version=new.version, hash=new.hash.hex())

    def _load(self) -> GlobalConfiguration | None:
        try:
            signed = self._path.read_bytes()
            return authenticate_configuration(signed, anchor=self._anchor)
        except FileNotFoundError:
            return None
        except (ConfigurationInvalid, OSError) as failure:
            # Who can spoil the file can delete it too, so this costs no protection; and
            # an operator who has installed another anchor must be able to start.
            self.last_failure = failure
            log.warning("configuration_not_loaded", detail=str(failure))
            return None
