"""Build and sign the global configuration, and keep the newest one at hand.

1. A new version is signed when something changed, and each time the generation interval
   has passed; versions grow by one, each naming the hash of the one before.
2. It is verified as a security server would before it is committed, so that nothing is
   published that servers refuse; a change and the version that says it are one
   transaction.
3. It is in a file, durably, before it is served: without its database, or with one
   restored from yesterday, the registry goes on from the newest that anyone has seen.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from central_registry import publications
from central_registry.members import Members
from central_registry.publications import Head, Publication
from central_registry.records import AuthorityKind, CodeList, Records
from central_registry.store import UNAVAILABLE, Store
from messaging.wire.identifiers import member_to_pb, server_to_pb, subsystem_to_pb
from protos.v1 import configuration_pb2
from trust.configuration_anchor import CONFIGURATION_TYPE, ConfigurationAnchor
from trust.global_configuration import (
    SHARED_PART,
    Authority,
    GlobalConfiguration,
    Member,
    Server,
    authenticate_configuration,
    verify_configuration,
)
from trust.keys import SoftwareKey
from vocabulary.clock import Clock
from vocabulary.durable import replace_file
from vocabulary.faults import ConfigurationInvalid
from vocabulary.pae import pae

Result = TypeVar("Result")

# How often the database is looked at: for its health, and for what a second registry
# has published.
WATCH_INTERVAL: Final = timedelta(seconds=1)
# A look that takes longer has met a database that hangs.
WATCH_TIMEOUT: Final = timedelta(seconds=10)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How long things last, as the governing authority decides."""

    generation: timedelta
    validity: timedelta
    ocsp_freshness: timedelta
    ocsp_fetch: timedelta
    time_stamping: timedelta


class Publisher:
    """Publishes for one instance. Registries that share a database share the key."""

    def __init__(
        self,
        *,
        store: Store,
        key: SoftwareKey,
        anchor: ConfigurationAnchor,
        path: Path,
        intervals: Intervals,
        clock: Clock,
    ) -> None:
        self._store = store
        self._key = key
        self._signer = hashlib.sha256(key.public_key_info).digest()
        self._anchor = anchor
        self._path = path
        self._intervals = intervals
        self._clock = clock
        self._holding = Lock()
        self._has_generated = False
        self.newest = self._load()

    def change(self, change: Callable[[Members], Result]) -> tuple[Result, int]:
        """Make a change and publish it, both or neither; give the version too."""
        with self._store.writing() as connection:
            records, now = Records(connection), self._clock()
            result = change(Members(self._anchor.instance, records, now))
            publication = self._next(records, now)
        self._hold(publication)
        return result, publication.version

    def publish_if_due(self) -> None:
        """Publish when it is time, or take up what another registry published."""
        now = self._clock()
        with self._store.reading() as connection:
            head = publications.head(connection)
        held = self.newest
        if self._has_generated and head is not None and self._is_fresh(head, now):
            is_held = held is not None and held.version == head.version
            if is_held or head.signer != self._signer:
                return
        self.change(lambda _members: None)
        self._has_generated = True

    def is_current(self) -> bool:
        """Whether what is served holds now."""
        return self.newest is not None and self._clock() < self.newest.expires_at

    async def watch(self) -> AsyncIterator[bool]:
        """Publish for ever; say each second whether the database answers."""
        failure = ""
        while True:
            before, failure = failure, await self._try_to_publish()
            if before and not failure:
                log.info("publishing_again")
            if failure and failure != before:
                log.warning("not_publishing", why=failure)
            yield not failure
            await asyncio.sleep(WATCH_INTERVAL.total_seconds())

    async def _try_to_publish(self) -> str:
        """Give what was wrong, or nothing."""
        try:
            async with asyncio.timeout(WATCH_TIMEOUT.total_seconds()):
                await asyncio.to_thread(self.publish_if_due)
        except (*UNAVAILABLE, TimeoutError, OSError, ConfigurationInvalid) as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _next(self, records: Records, now: datetime) -> Publication:
        """Give the newest publication if it still says it all, or append another."""
        stored, held = publications.newest(records.connection), self.newest
        parts = {SHARED_PART: self._shared(records)}
        version, previous = (stored.version, stored.hash) if stored else (0, b"")
        if held is not None and held.version > version:
            # A database that was restored to an earlier day.
            version, previous = held.version, held.hash
        elif (
            stored is not None
            and stored.signer == self._signer
            and stored.parts == parts
            and self._is_fresh(stored, now)
        ):
            return stored
        publication = self._sign(version + 1, previous, parts, now)
        verify_configuration(
            _signed(publication), anchor=self._anchor, previous=held, now=now
        )
        publications.append(records.connection, publication)
        return publication

    def _is_fresh(self, of: Publication | Head, now: datetime) -> bool:
        return of.issued_at <= now < of.issued_at + self._intervals.generation

    def _sign(
        self, version: int, previous: bytes, parts: dict[str, bytes], now: datetime
    ) -> Publication:
        expires_at = now + self._intervals.validity
        directory = configuration_pb2.ConfigurationDirectory(
            instance=self._anchor.instance,
            version=version,
            issued_at=_timestamp(now),
            expires_at=_timestamp(expires_at),
            previous_hash=previous,
            parts=[
                configuration_pb2.PartDigest(
                    name=name, sha256=hashlib.sha256(content).digest()
                )
                for name, content in sorted(parts.items())
            ],
        ).SerializeToString()
        return Publication(
            version=version,
            issued_at=now,
            expires_at=expires_at,
            directory=directory,
            signature=self._key.sign(pae(CONFIGURATION_TYPE, directory)),
            signer=self._signer,
            parts=parts,
        )

    def _hold(self, publication: Publication) -> None:
        with self._holding:
            if self.newest and self.newest.version >= publication.version:
                return
            signed = _signed(publication)
            configuration = authenticate_configuration(signed, anchor=self._anchor)
            replace_file(self._path, signed, mode=0o644)
            self.newest = configuration
        log.info("published", version=publication.version)

    def _load(self) -> GlobalConfiguration | None:
        try:
            signed = self._path.read_bytes()
            return authenticate_configuration(signed, anchor=self._anchor)
        except FileNotFoundError:
            return None
        except ConfigurationInvalid as error:
            # Of another key: that one is lost, and so is the trust in what it signed.
            log.warning("published_copy_not_loaded", why=error.detail)
            return None

    def _shared(self, records: Records) -> bytes:
        intervals = self._intervals
        return configuration_pb2.SharedParameters(
            members=registered_members(records.members()),
            servers=registered_servers(records.servers()),
            certification_authorities=_authorities(
                records.authorities(AuthorityKind.CERTIFICATION)
            ),
            time_stamping_authorities=_authorities(
                records.authorities(AuthorityKind.TIME_STAMPING)
            ),
            purposes=_codes(records.codes(CodeList.PURPOSES)),
            legal_bases=_codes(records.codes(CodeList.LEGAL_BASES)),
            ocsp_freshness_s=_seconds(intervals.ocsp_freshness),
            ocsp_fetch_interval_s=_seconds(intervals.ocsp_fetch),
            time_stamping_interval_s=_seconds(intervals.time_stamping),
        ).SerializeToString(deterministic=True)


def registered_members(
    members: Iterable[Member],
) -> list[configuration_pb2.RegisteredMember]:
    return [
        configuration_pb2.RegisteredMember(
            id=member_to_pb(member.id),
            name=member.name,
            subsystems=[subsystem_to_pb(id_) for id_ in sorted(member.subsystems)],
        )
        for member in members
    ]


def registered_servers(
    servers: Iterable[Server],
) -> list[configuration_pb2.RegisteredServer]:
    return [
        configuration_pb2.RegisteredServer(
            id=server_to_pb(server.id),
            address=server.address,
            authentication_certificates=[
                certificate.der for certificate in server.authentication_certificates
            ],
            checkpoint_keys=server.checkpoint_keys,
            subsystems=[subsystem_to_pb(id_) for id_ in sorted(server.subsystems)],
        )
        for server in servers
    ]


def _authorities(
    authorities: Iterable[Authority],
) -> list[configuration_pb2.ApprovedAuthority]:
    return [
        configuration_pb2.ApprovedAuthority(
            name=authority.name,
            certificate=authority.certificate.der,
            url=authority.url,
        )
        for authority in authorities
    ]


def _codes(codes: dict[str, str]) -> list[configuration_pb2.ListedCode]:
    return [
        configuration_pb2.ListedCode(code=code, name=name)
        for code, name in codes.items()
    ]


def _signed(publication: Publication) -> bytes:
    return configuration_pb2.SignedConfiguration(
        directory=publication.directory,
        signature=publication.signature,
        signer=publication.signer,
        parts=[
            configuration_pb2.ConfigurationPart(name=name, content=content)
            for name, content in sorted(publication.parts.items())
        ],
    ).SerializeToString()


def _seconds(interval: timedelta) -> int:
    return int(interval.total_seconds())


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
