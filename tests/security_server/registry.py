"""A global configuration in memory, which has no need of certificates."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.security_server.descriptors import POPULATION, TAX
from trust.global_configuration import GlobalConfiguration, Member, Server
from vocabulary.faults import ConfigurationExpired, PeerUnreachable
from vocabulary.identifiers import SecurityServerId

NOW = datetime(2026, 1, 1, tzinfo=UTC)
THERE = SecurityServerId(POPULATION.member, "ss1")


def configuration(*subsystems, carried=(POPULATION,)):
    members = {}
    for subsystem in subsystems:
        known = members.get(subsystem.member)
        held = frozenset({subsystem, *(known.subsystems if known else ())})
        members[subsystem.member] = Member(subsystem.member, "a member", held)
    server = Server(THERE, "127.0.0.1:1", (), (), frozenset(carried))
    return GlobalConfiguration(
        instance="EE-TEST",
        version=7,
        issued_at=NOW,
        expires_at=NOW + timedelta(minutes=10),
        hash=b"\0" * 32,
        previous_hash=b"",
        members=members,
        servers={THERE: server},
        certification_authorities=(),
        time_stamping_authorities=(),
        purposes={},
        legal_bases={},
        ocsp_freshness=timedelta(minutes=1),
        ocsp_fetch_interval=timedelta(seconds=10),
        time_stamping_interval=timedelta(seconds=1),
        signed=b"",
    )


class Configuration:
    """What is held, what the registry would give when asked, and what went wrong."""

    def __init__(self):
        self.held = configuration(TAX, POPULATION)
        self.newer = None
        self.last_failure = None

    def current(self):
        if self.held is None:
            raise ConfigurationExpired("see that the registry runs")
        return self.held

    async def refresh(self):
        if self.newer is None:
            raise PeerUnreachable("the registry is away")
        self.held = replace(self.newer, version=8)
        return self.held
