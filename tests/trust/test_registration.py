import pytest

from protos.v1 import configuration_pb2 as pb
from tests.central_registry.simulator import (
    NOW,
    POPULATION,
    POPULATION_SERVER,
    TAX,
    TAX_SERVER,
    GoverningAuthority,
    certificate,
    checkpoint_key,
    digest,
    member,
    member_pb,
    server_pb,
    subsystem_pb,
)
from trust.global_configuration import verify_configuration
from trust.registration import (
    parse_address,
    parse_checkpoint_key,
    parse_code,
    parse_name,
    parse_url,
)
from vocabulary.faults import ConfigurationInvalid
from vocabulary.identifiers import SecurityServerId, SubsystemId

STRANGER = member("70000001")


@pytest.fixture
def authority():
    return GoverningAuthority()


def refuse(authority, signed, words):
    with pytest.raises(ConfigurationInvalid, match=words):
        verify_configuration(signed, anchor=authority.anchor, previous=None, now=NOW)


@pytest.mark.parametrize(
    "address",
    ["localhost:1", "127.0.0.1:65535", "[::1]:5500", "ss1.tax.example:5500", "a_b:1"],
)
def test_an_address_is_a_host_and_a_port(address):
    assert parse_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "h",
        ":1",
        "h:",
        "h:0",
        "h:65536",
        "h:-1",
        "h:1:2",
        "-h:1",
        "h h:1",
        "http://h:1",
        "h:1/x",
        "h:\u0661",
        "u@h:1",
        "::1:5",
        "h" * 300 + ":1",
        "h:1\n",
    ],
)
def test_refuses_what_is_no_address(address):
    with pytest.raises(ValueError, match="not a"):
        parse_address(address)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x00", "x" * 201, "\u202ea"])
def test_refuses_what_is_no_name(name):
    with pytest.raises(ValueError, match="not a name"):
        parse_name(name)


def test_a_name_may_be_in_any_script():
    assert parse_name("Maksu- ja Tolliamet, Õismäe") == "Maksu- ja Tolliamet, Õismäe"


@pytest.mark.parametrize("code", ["", " a", "a ", "§", "a\n", "x" * 129])
def test_refuses_what_is_no_code(code):
    with pytest.raises(ValueError, match="not a code"):
        parse_code(code)


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://h/", "http://", "http:///x", "http://h/ x", "http://h/õ"]
)
def test_refuses_what_is_no_url(url):
    with pytest.raises(ValueError, match="not a"):
        parse_url(url)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a+b",
        f"{TAX_SERVER}/log+01234567",
        f"{TAX_SERVER}/l g+01234567+" + "A" * 44,
        f"{TAX_SERVER}/log+0123456G+" + "A" * 44,
        f"{TAX_SERVER}/log+01234567+AAAA",
    ],
)
def test_refuses_what_is_no_checkpoint_key(key):
    with pytest.raises(ValueError, match="C2SP"):
        parse_checkpoint_key(key, server=TAX_SERVER)


def _twice(field):
    def change(shared):
        getattr(shared, field).append(getattr(shared, field)[0])

    return change


MALFORMED = {
    "member twice": (_twice("members"), "member EE/GOV/70000349 is listed twice"),
    "server twice": (_twice("servers"), "server EE/GOV/70000349/ss1 is listed twice"),
    "CA twice": (_twice("certification_authorities"), "authority .* twice"),
    "TSA twice": (_twice("time_stamping_authorities"), "authority .* twice"),
    "purpose twice": (_twice("purposes"), "code TAX-ASSESSMENT is listed twice"),
    "legal basis twice": (_twice("legal_bases"), "code MKS-27 is listed twice"),
    "subsystem twice": (
        lambda s: s.members[0].subsystems.append(subsystem_pb(TAX)),
        "subsystem EE/GOV/70000349/tax is listed twice",
    ),
    "subsystem of another member": (
        lambda s: s.members[0].subsystems.append(subsystem_pb(POPULATION)),
        "listed under",
    ),
    "member of another instance": (
        lambda s: s.members.add(
            id=member_pb(type(STRANGER)("FI", "GOV", "1")), name="x"
        ),
        "another instance",
    ),
    "member without name": (lambda s: s.members.add(id=member_pb(STRANGER)), "name"),
    "member without id": (lambda s: s.members.add(name="x"), "not a member identifier"),
    "owner that is no member": (
        lambda s: s.servers.add(
            id=server_pb(SecurityServerId(STRANGER, "ss1")), address="h:1"
        ),
        "owner of EE/GOV/70000001/ss1 is no member",
    ),
    "server without address": (
        lambda s: s.servers.add(id=server_pb(SecurityServerId(TAX.member, "ss2"))),
        "host:port",
    ),
    "carried subsystem that nobody registered": (
        lambda s: s.servers[0].subsystems.append(
            subsystem_pb(SubsystemId(TAX.member, "other"))
        ),
        "carries subsystems that nobody registered",
    ),
    "carried subsystem twice": (
        lambda s: s.servers[0].subsystems.append(subsystem_pb(TAX)),
        "listed twice",
    ),
    "certificate of two servers": (
        lambda s: s.servers[0].authentication_certificates.append(
            s.servers[1].authentication_certificates[0]
        ),
        "authentication certificate .* is listed twice",
    ),
    "certificate that is none": (
        lambda s: s.servers[0].authentication_certificates.append(b"0"),
        "malformed",
    ),
    "checkpoint key that is none": (
        lambda s: s.servers[0].checkpoint_keys.append("key"),
        "C2SP",
    ),
    "checkpoint key of another server": (
        lambda s: s.servers[0].checkpoint_keys.append(
            checkpoint_key(POPULATION_SERVER)
        ),
        "no log of",
    ),
    "checkpoint key twice": (
        lambda s: s.servers[0].checkpoint_keys.append(checkpoint_key(TAX_SERVER)),
        "checkpoint key .* is listed twice",
    ),
    "authority without address": (
        lambda s: s.certification_authorities.add(name="x", certificate=certificate()),
        "URL",
    ),
    "code that is no metadata": (
        lambda s: s.purposes.add(code="§ 1", name="x"),
        "not a code",
    ),
    "no OCSP freshness": (lambda s: s.ClearField("ocsp_freshness_s"), "no length"),
    "no OCSP interval": (lambda s: s.ClearField("ocsp_fetch_interval_s"), "no length"),
    "no time-stamping interval": (
        lambda s: s.ClearField("time_stamping_interval_s"),
        "no length",
    ),
}


@pytest.mark.parametrize(("change", "words"), MALFORMED.values(), ids=MALFORMED.keys())
def test_refuses_malformed(authority, change, words):
    change(authority.shared)
    refuse(authority, authority.publish(), words)


def test_refuses_a_shared_part_that_is_no_protobuf(authority):
    parts = {"shared": b"\xff\xff"}
    named = [digest("shared", b"\xff\xff")]
    envelope = pb.SignedConfiguration.FromString(authority.publish(parts=named))
    signed = authority.sign(envelope.directory, parts)
    refuse(authority, signed.SerializeToString(), "malformed")
