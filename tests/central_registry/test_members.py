from datetime import timedelta

import pytest

from central_registry.members import Members
from central_registry.records import AuthorityKind, CodeList, Records
from central_registry.requests import Kind, State
from tests.central_registry.certificates import Issuer, new_checkpoint_key
from tests.central_registry.simulator import (
    NOW,
    POPULATION,
    POPULATION_SERVER,
    TAX,
    TAX_SERVER,
    checkpoint_key,
)
from trust.keys import SoftwareKey
from trust_services.authority import Usage
from vocabulary.faults import (
    AlreadyRegistered,
    RegistrationInvalid,
    RequestUnknown,
)
from vocabulary.identifiers import MemberId, SecurityServerId, SubsystemId

ISSUER = Issuer()
ADDRESS = "ss1.example:5500"


class World:
    """The rules over a transaction that is rolled back, and a clock."""

    def __init__(self, connection):
        self.records = Records(connection)
        self.now = NOW

    @property
    def members(self):
        return Members("EE", self.records, self.now)

    def approve_ca(self, issuer=ISSUER):
        self.members.approve_authority(
            AuthorityKind.CERTIFICATION,
            name="CA",
            certificate=issuer.certificate,
            url="http://ca/ocsp",
        )

    def ask_member(self, member=TAX.member, name="Tax Board"):
        return self.members.register_member(member, name=name)

    def ask_server(self, server=TAX_SERVER, **changed):
        asked = {
            "address": ADDRESS,
            "certificate": ISSUER.issue(server),
            "checkpoint_key": new_checkpoint_key(server),
        }
        return self.members.register_server(server, **(asked | changed))

    def ask_news(self, server=TAX_SERVER, **changed):
        asked = {"address": "", "certificate": b"", "checkpoint_key": ""}
        return self.members.register_server(server, **(asked | changed))

    def approve(self, request):
        return self.members.approve(request.number)

    def tax(self):
        """Register the tax board and its server."""
        self.approve_ca()
        self.approve(self.ask_member())
        self.approve(self.ask_server())


@pytest.fixture
def world(connection):
    return World(connection)


def test_nothing_is_registered_before_it_is_approved(world):
    request = world.ask_member()
    assert (request.asked.kind, request.state) == (Kind.MEMBER, State.WAITING)
    assert (request.asked.subject, request.asked_at) == (str(TAX.member), NOW)
    assert world.records.members() == []
    world.now += timedelta(hours=1)
    approved = world.approve(request)
    assert approved.state is State.APPROVED
    assert approved.decided_at == NOW + timedelta(hours=1)
    (member,) = world.records.members()
    assert (member.id, member.name) == (TAX.member, "Tax Board")


def test_a_rejected_request_registers_nothing_and_says_why(world):
    request = world.ask_member()
    rejected = world.members.reject(request.number, reason="not a public body")
    assert (rejected.state, rejected.reason) == (State.REJECTED, "not a public body")
    assert world.records.members() == []
    assert world.records.requests(State.WAITING) == []
    assert world.records.requests(*State) == [rejected]
    world.ask_member()


def test_a_rejection_has_a_reason(world):
    request = world.ask_member()
    with pytest.raises(RegistrationInvalid, match="not a name"):
        world.members.reject(request.number, reason="")


def test_a_request_is_decided_once(world):
    request = world.ask_member()
    world.approve(request)
    with pytest.raises(RequestUnknown, match="was decided: approved"):
        world.approve(request)
    with pytest.raises(RequestUnknown, match="was decided: approved"):
        world.members.reject(request.number, reason="too late")


@pytest.mark.parametrize("number", [0, 1 << 62])
def test_a_request_that_was_never_made_is_unknown(world, number):
    with pytest.raises(RequestUnknown, match="there is no request"):
        world.members.approve(number)


def test_a_member_is_registered_once(world):
    request = world.ask_member()
    with pytest.raises(AlreadyRegistered, match=f"request {request.number} waits"):
        world.ask_member()
    world.approve(request)
    with pytest.raises(AlreadyRegistered, match="is a member already"):
        world.ask_member()


def test_a_member_is_of_this_instance(world):
    with pytest.raises(RegistrationInvalid, match="another instance"):
        world.ask_member(MemberId("FI", "GOV", "1"))


@pytest.mark.parametrize("name", ["", "\n", "x" * 201])
def test_a_member_has_a_name(world, name):
    with pytest.raises(RegistrationInvalid, match="not a name"):
        world.ask_member(name=name)


def test_a_server_is_registered_with_all_that_it_has(world):
    world.approve_ca()
    world.approve(world.ask_member())
    certificate, key = ISSUER.issue(TAX_SERVER), new_checkpoint_key(TAX_SERVER)
    world.approve(world.ask_server(certificate=certificate, checkpoint_key=key))
    (server,) = world.records.servers()
    assert (server.id, server.address) == (TAX_SERVER, ADDRESS)
    assert [c.der for c in server.authentication_certificates] == [certificate]
    assert server.checkpoint_keys == (key,)
    assert server.subsystems == frozenset()


def test_the_owner_comes_before_its_server(world):
    world.approve_ca()
    world.ask_member()
    with pytest.raises(RegistrationInvalid, match="no member yet"):
        world.ask_server()


@pytest.mark.parametrize(
    "missing", [{"address": ""}, {"certificate": b""}, {"checkpoint_key": ""}]
)
def test_a_new_server_has_everything(world, missing):
    world.approve_ca()
    world.approve(world.ask_member())
    with pytest.raises(RegistrationInvalid, match="name all three"):
        world.ask_server(**missing)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"address": "nowhere"}, "not a host:port address"),
        ({"certificate": b"0"}, "not a certificate in DER"),
        ({"certificate": ISSUER.issue(POPULATION_SERVER)}, "was issued to EE/GOV/7000"),
        ({"certificate": ISSUER.issue(TAX.member)}, "authentication certificate of"),
        ({"certificate": ISSUER.certificate}, "authentication certificate of"),
        ({"certificate": Issuer().issue(TAX_SERVER)}, "authentication certificate of"),
        ({"checkpoint_key": "key"}, "not the vkey|not a"),
        ({"checkpoint_key": checkpoint_key(TAX_SERVER)}, "id is not its key's"),
        ({"checkpoint_key": new_checkpoint_key(POPULATION_SERVER)}, "no log of"),
    ],
)
def test_refuses_a_server_with_something_that_is_not_its_own(world, changed, words):
    world.approve_ca()
    world.approve(world.ask_member())
    with pytest.raises(RegistrationInvalid, match=words):
        world.ask_server(**changed)


def test_refuses_a_certificate_when_no_ca_is_approved(world):
    world.approve(world.ask_member())
    with pytest.raises(RegistrationInvalid, match="no certification authority"):
        world.ask_server()


def test_judges_again_when_it_approves(world):
    world.approve_ca()
    world.approve(world.ask_member())
    request = world.ask_server()
    world.now += timedelta(days=3650)
    with pytest.raises(RegistrationInvalid, match="valid"):
        world.approve(request)
    assert world.records.servers() == []
    assert world.records.request(request.number).state is State.WAITING


def test_a_server_may_get_another_address(world):
    world.tax()
    world.approve(world.ask_news(address="ss1.new.example:5500"))
    (server,) = world.records.servers()
    assert server.address == "ss1.new.example:5500"
    assert len(server.authentication_certificates) == 1


def test_certificates_and_keys_overlap_and_the_newest_is_last(world):
    world.tax()
    (before,) = world.records.servers()
    certificate, key = ISSUER.issue(TAX_SERVER), new_checkpoint_key(TAX_SERVER)
    world.approve(world.ask_news(certificate=certificate))
    world.approve(world.ask_news(checkpoint_key=key))
    (after,) = world.records.servers()
    assert [c.der for c in after.authentication_certificates] == [
        before.authentication_certificates[0].der,
        certificate,
    ]
    assert after.checkpoint_keys == (*before.checkpoint_keys, key)


def test_refuses_what_a_server_has_already(world):
    world.tax()
    (server,) = world.records.servers()
    with pytest.raises(AlreadyRegistered, match="exactly this already"):
        world.ask_news(
            address=server.address,
            certificate=server.authentication_certificates[0].der,
            checkpoint_key=server.checkpoint_keys[0],
        )
    with pytest.raises(RegistrationInvalid, match="nothing is asked"):
        world.ask_news()


def test_refuses_a_certificate_that_another_server_has(world):
    world.tax()
    world.approve(world.ask_member(POPULATION.member, "Population Register"))
    (server,) = world.records.servers()
    taken = server.authentication_certificates[0].der
    with pytest.raises(RegistrationInvalid, match=f"is or was that of {TAX_SERVER}"):
        world.ask_server(POPULATION_SERVER, certificate=taken)


def test_a_subsystem_is_carried_by_a_server(world):
    world.tax()
    request = world.members.register_subsystem(TAX, server=TAX_SERVER)
    assert request.asked.kind is Kind.SUBSYSTEM
    world.approve(request)
    (member,), (server,) = world.records.members(), world.records.servers()
    assert member.subsystems == server.subsystems == {TAX}
    with pytest.raises(AlreadyRegistered, match="carries"):
        world.members.register_subsystem(TAX, server=TAX_SERVER)


def test_a_subsystem_may_be_carried_by_several_servers(world):
    world.tax()
    second = SecurityServerId(TAX.member, "ss2")
    world.approve(world.ask_server(second))
    for server in (TAX_SERVER, second):
        world.approve(world.members.register_subsystem(TAX, server=server))
    assert [s.subsystems for s in world.records.servers()] == [{TAX}, {TAX}]


def test_a_server_may_carry_subsystems_of_several_members(world):
    world.tax()
    world.approve(world.ask_member(POPULATION.member, "Population Register"))
    for subsystem in (TAX, POPULATION):
        world.approve(world.members.register_subsystem(subsystem, server=TAX_SERVER))
    (server,) = world.records.servers()
    assert server.subsystems == {TAX, POPULATION}


def test_member_and_server_come_before_the_subsystem(world):
    world.tax()
    with pytest.raises(RegistrationInvalid, match="no member yet"):
        world.members.register_subsystem(POPULATION, server=TAX_SERVER)
    with pytest.raises(RegistrationInvalid, match="no security server"):
        world.members.register_subsystem(TAX, server=POPULATION_SERVER)


def test_the_same_subsystem_waits_once_for_each_server(world):
    world.tax()
    world.approve(world.ask_server(SecurityServerId(TAX.member, "ss2")))
    world.members.register_subsystem(TAX, server=TAX_SERVER)
    with pytest.raises(AlreadyRegistered, match="waits for a decision"):
        world.members.register_subsystem(TAX, server=TAX_SERVER)
    second = SecurityServerId(TAX.member, "ss2")
    world.members.register_subsystem(TAX, server=second)
    world.members.register_subsystem(SubsystemId(TAX.member, "b"), server=TAX_SERVER)


def test_an_authority_can_be_renamed_and_moved(world):
    world.approve_ca()
    world.members.approve_authority(
        AuthorityKind.CERTIFICATION,
        name="Renamed",
        certificate=ISSUER.certificate,
        url="http://elsewhere/",
    )
    (authority,) = world.records.authorities(AuthorityKind.CERTIFICATION)
    assert (authority.name, authority.url) == ("Renamed", "http://elsewhere/")
    assert world.records.authorities(AuthorityKind.TIME_STAMPING) == []


@pytest.mark.parametrize(
    "changed", [{"name": ""}, {"certificate": b"0"}, {"url": "ca.example"}]
)
def test_refuses_what_is_no_authority(world, changed):
    asked = {"name": "CA", "certificate": ISSUER.certificate, "url": "http://ca/"}
    with pytest.raises(RegistrationInvalid, match="not a"):
        world.members.approve_authority(
            AuthorityKind.CERTIFICATION, **(asked | changed)
        )


def test_an_authority_is_approved_for_what_its_certificate_is_for(world):
    authority = ISSUER.authority
    tsa = authority.issue_for_service(SoftwareKey.generate(), Usage.TIME_STAMPING).der
    ocsp = authority.issue_for_service(SoftwareKey.generate(), Usage.OCSP_SIGNING).der
    world.members.approve_authority(
        AuthorityKind.TIME_STAMPING, name="TSA", certificate=tsa, url="http://tsa/"
    )
    for kind, certificate in (
        (AuthorityKind.CERTIFICATION, tsa),
        (AuthorityKind.CERTIFICATION, ISSUER.issue(TAX_SERVER)),
        (AuthorityKind.TIME_STAMPING, ocsp),
        (AuthorityKind.TIME_STAMPING, ISSUER.certificate),
    ):
        with pytest.raises(RegistrationInvalid, match="is not for"):
            world.members.approve_authority(
                kind, name="x", certificate=certificate, url="http://x/"
            )


def test_codes_are_listed_and_renamed(world):
    for name in ("Assessment", "Assessment of income tax"):
        world.members.list_code("TAX", in_=CodeList.PURPOSES, name=name)
    world.members.list_code("MKS-27", in_=CodeList.LEGAL_BASES, name="Taxation Act")
    assert world.records.codes(CodeList.PURPOSES) == {"TAX": "Assessment of income tax"}
    assert world.records.codes(CodeList.LEGAL_BASES) == {"MKS-27": "Taxation Act"}
    with pytest.raises(RegistrationInvalid, match="not a code"):
        world.members.list_code("§", in_=CodeList.PURPOSES, name="x")
