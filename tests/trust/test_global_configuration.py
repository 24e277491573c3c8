import hashlib
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.v1 import configuration_pb2 as pb
from tests.central_registry.simulator import (
    NOW,
    POPULATION,
    POPULATION_SERVER,
    TAX,
    TAX_SERVER,
    GoverningAuthority,
    checkpoint_key,
    digest,
    member,
    subsystem_pb,
)
from trust.global_configuration import (
    ConfigurationAnchor,
    authenticate_configuration,
    verify_configuration,
)
from vocabulary.faults import (
    ConfigurationExpired,
    ConfigurationInvalid,
    ConfigurationRolledBack,
    MemberUnknown,
    NotRegistered,
    PeerMismatch,
)
from vocabulary.identifiers import SecurityServerId, SubsystemId

STRANGER = member("70000001")


@pytest.fixture
def authority():
    return GoverningAuthority()


def verify(authority, signed, *, previous=None, now=NOW):
    return verify_configuration(
        signed, anchor=authority.anchor, previous=previous, now=now
    )


def refuse(authority, signed, words=None, **how):
    with pytest.raises(ConfigurationInvalid, match=words):
        verify(authority, signed, **how)


def test_reads_what_the_authority_signed(authority):
    signed = authority.publish()
    configuration = verify(authority, signed)
    assert (configuration.instance, configuration.version) == ("EE", 1)
    assert configuration.signed == signed
    assert configuration.hash == authority.hash
    assert configuration.issued_at == NOW
    assert configuration.expires_at == NOW + timedelta(seconds=600)
    assert configuration.members[TAX.member].subsystems == {TAX}
    assert configuration.server(TAX_SERVER).address == "127.0.0.1:5500"
    assert configuration.server(TAX_SERVER).checkpoint_keys == (
        checkpoint_key(TAX_SERVER),
    )
    assert [a.name for a in configuration.certification_authorities] == ["CA"]
    assert [a.url for a in configuration.time_stamping_authorities] == ["http://tsa"]
    assert configuration.purposes == {"TAX-ASSESSMENT": "Assessment of income tax"}
    assert configuration.legal_bases == {"MKS-27": "Taxation Act"}
    assert configuration.ocsp_freshness == timedelta(hours=1)


def test_a_configuration_cannot_be_changed(authority):
    configuration = verify(authority, authority.publish())
    for mapping in (
        configuration.members,
        configuration.servers,
        configuration.purposes,
        configuration.legal_bases,
    ):
        with pytest.raises(TypeError):
            mapping["x"] = "y"


def test_answers_who_is_where(authority):
    configuration = verify(authority, authority.publish())
    configuration.require_registered(TAX, on=TAX_SERVER)
    assert configuration.servers_of(POPULATION) == (
        configuration.server(POPULATION_SERVER),
    )
    with pytest.raises(NotRegistered, match="tax is not registered on"):
        configuration.require_registered(TAX, on=POPULATION_SERVER)
    with pytest.raises(NotRegistered):
        configuration.require_registered(TAX, on=SecurityServerId(STRANGER, "ss1"))
    with pytest.raises(PeerMismatch, match="no security server EE/GOV/70000001/ss1"):
        configuration.server(SecurityServerId(STRANGER, "ss1"))
    with pytest.raises(MemberUnknown, match="no member EE/GOV/70000001"):
        configuration.servers_of(SubsystemId(STRANGER, "tax"))
    with pytest.raises(MemberUnknown, match="has no subsystem other"):
        configuration.servers_of(SubsystemId(TAX.member, "other"))


def test_a_subsystem_that_no_server_carries_is_unknown(authority):
    del authority.shared.servers[0].subsystems[:]
    configuration = verify(authority, authority.publish())
    with pytest.raises(MemberUnknown, match="no security server carries"):
        configuration.servers_of(TAX)


def test_a_subsystem_may_be_on_several_servers(authority):
    authority.shared.servers[1].subsystems.append(subsystem_pb(TAX))
    configuration = verify(authority, authority.publish())
    assert {s.id for s in configuration.servers_of(TAX)} == {
        TAX_SERVER,
        POPULATION_SERVER,
    }


# Who signed, and what.


@pytest.mark.parametrize("signed", [b"", b"\xff", b"no configuration", bytes(100)])
def test_refuses_what_is_no_configuration(authority, signed):
    refuse(authority, signed, "malformed|not in the anchor")


def test_refuses_unsigned(authority):
    envelope = pb.SignedConfiguration.FromString(authority.publish())
    envelope.signature = b""
    refuse(authority, envelope.SerializeToString(), "signature is wrong")


def test_refuses_another_signer(authority):
    refuse(authority, GoverningAuthority().publish(), "not in the anchor")


def test_refuses_another_signer_under_our_name(authority):
    envelope = pb.SignedConfiguration.FromString(GoverningAuthority().publish())
    envelope.signer = hashlib.sha256(authority.public_key).digest()
    refuse(authority, envelope.SerializeToString(), "signature is wrong")


def test_accepts_each_of_several_signers(authority):
    other = GoverningAuthority()
    both = (other.public_key, authority.public_key)
    anchor = ConfigurationAnchor("EE", "127.0.0.1:5400", both)
    for signed in (authority.publish(), other.publish()):
        assert authenticate_configuration(signed, anchor=anchor).version == 1


def test_refuses_another_instance(authority):
    refuse(authority, authority.publish(instance="FI"), "of instance 'FI', not EE")


def test_refuses_truncation(authority):
    signed = authority.publish()
    for length in (1, len(signed) // 2, len(signed) - 1):
        refuse(authority, signed[:length])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_refuses_any_flipped_bit(data):
    authority, signed = _fixed()
    bit = data.draw(st.integers(0, len(signed) * 8 - 1))
    flipped = bytearray(signed)
    flipped[bit // 8] ^= 1 << bit % 8
    refuse(authority, bytes(flipped))


def _fixed(made=[]):  # noqa: B006 - made once, for every example
    if not made:
        authority = GoverningAuthority()
        made.append((authority, authority.publish()))
    return made[0]


# Parts.


def test_refuses_parts_of_two_configurations(authority):
    old = pb.SignedConfiguration.FromString(authority.publish())
    authority.shared.members[0].name = "renamed"
    new = pb.SignedConfiguration.FromString(authority.publish())
    del new.parts[:]
    new.parts.extend(old.parts)
    refuse(authority, new.SerializeToString(), "not those that were signed together")


def test_refuses_a_missing_part(authority):
    envelope = pb.SignedConfiguration.FromString(authority.publish())
    del envelope.parts[:]
    refuse(authority, envelope.SerializeToString(), "not those")


def test_refuses_a_surplus_part(authority):
    envelope = pb.SignedConfiguration.FromString(authority.publish())
    envelope.parts.add(name="private", content=b"x")
    refuse(authority, envelope.SerializeToString(), "not those")


def test_refuses_a_part_twice(authority):
    envelope = pb.SignedConfiguration.FromString(authority.publish())
    envelope.parts.append(envelope.parts[0])
    refuse(authority, envelope.SerializeToString(), "part shared is listed twice")


def test_refuses_a_directory_without_the_shared_part(authority):
    refuse(authority, authority.publish(parts=[]), "not those")


def test_carries_parts_that_it_does_not_read(authority):
    parts = {"shared": authority.shared.SerializeToString(), "federation": b"later"}
    named = [digest(name, content) for name, content in parts.items()]
    directory = pb.SignedConfiguration.FromString(authority.publish(parts=named))
    signed = authority.sign(directory.directory, parts).SerializeToString()
    assert verify(authority, signed).version == 1


# Growth.


def test_the_next_one_follows(authority):
    first = verify(authority, authority.publish())
    second = verify(authority, authority.publish(), previous=first)
    assert (second.version, second.previous_hash) == (2, first.hash)


def test_the_same_one_again_is_no_rollback(authority):
    signed = authority.publish()
    held = verify(authority, signed)
    assert verify(authority, signed, previous=held).hash == held.hash


def test_versions_may_be_missed(authority):
    first = verify(authority, authority.publish())
    authority.publish()
    assert verify(authority, authority.publish(), previous=first).version == 3


def test_refuses_rollback(authority):
    old = authority.publish()
    held = verify(authority, authority.publish())
    with pytest.raises(ConfigurationRolledBack, match=r"offers .* 1, but 2 was seen"):
        verify(authority, old, previous=held)


def test_refuses_a_fork(authority):
    held = verify(authority, authority.publish())
    authority.shared.members[0].name = "another history"
    fork = authority.publish(version=1, previous_hash=b"")
    with pytest.raises(ConfigurationRolledBack, match="signed two"):
        verify(authority, fork, previous=held)


def test_refuses_a_next_one_that_does_not_follow(authority):
    held = verify(authority, authority.publish())
    signed = authority.publish(previous_hash=bytes(32))
    refuse(authority, signed, "does not follow", previous=held)


def test_a_previous_one_of_another_instance_is_the_callers_bug(authority):
    other = GoverningAuthority("FI")
    other.shared.Clear()
    other.shared.MergeFrom(
        pb.SharedParameters(
            ocsp_freshness_s=1, ocsp_fetch_interval_s=1, time_stamping_interval_s=1
        )
    )
    held = verify(other, other.publish())
    with pytest.raises(ValueError, match="another instance"):
        verify(authority, authority.publish(), previous=held)


@pytest.mark.parametrize(
    ("version", "previous_hash"),
    [(0, b""), (1, bytes(32)), (2, b""), (2, bytes(31))],
)
def test_refuses_a_number_without_its_link(authority, version, previous_hash):
    signed = authority.publish(version=version, previous_hash=previous_hash)
    refuse(authority, signed, "version")


# Time.


def test_refuses_expired(authority):
    signed = authority.publish()
    end = NOW + timedelta(seconds=600)
    held = verify(authority, signed, now=end - timedelta(seconds=1))
    with pytest.raises(ConfigurationExpired, match="expired at 2026-01-01 00:10:00"):
        verify(authority, signed, now=end)
    with pytest.raises(ConfigurationExpired):
        held.require_current(end)


def test_an_expired_one_can_still_be_authenticated(authority):
    signed = authority.publish(at=NOW - timedelta(days=1))
    held = authenticate_configuration(signed, anchor=authority.anchor)
    assert held.version == 1


def test_refuses_the_future(authority):
    signed = authority.publish(at=NOW + timedelta(seconds=61))
    refuse(authority, signed, "issued in the future")
    assert verify(authority, signed, now=NOW + timedelta(seconds=1)).version == 1


def test_refuses_an_end_before_the_beginning(authority):
    signed = authority.publish(validity=timedelta(0))
    refuse(authority, signed, "expires before it was issued")


@pytest.mark.parametrize("name", ["issued_at", "expires_at"])
def test_refuses_times_that_are_missing_or_no_times(authority, name):
    envelope = pb.SignedConfiguration.FromString(authority.publish())
    for change in (
        lambda d: d.ClearField(name),
        lambda d: setattr(getattr(d, name), "seconds", 1 << 62),
        lambda d: setattr(getattr(d, name), "nanos", -5),
    ):
        directory = pb.ConfigurationDirectory.FromString(envelope.directory)
        change(directory)
        parts = {part.name: part.content for part in envelope.parts}
        signed = authority.sign(directory.SerializeToString(), parts)
        refuse(authority, signed.SerializeToString(), "malformed")
