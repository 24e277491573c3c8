"""Administration over its Unix socket, on a real database."""

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc import StatusCode, aio

from ledger.record import Appended
from messaging.transport import bind_socket, fault_of_status, server
from messaging.wire.identifiers import service_to_pb, subsystem_to_pb
from protos.v1 import administration_pb2 as pb
from protos.v1.administration_pb2_grpc import (
    AdministrationServiceStub,
    add_AdministrationServiceServicer_to_server,
)
from protos.v1.identifier_pb2 import SubsystemId as SubsystemIdPb
from security_server.administration.finding import Finding
from security_server.administration.ledger_view import LedgerSize
from security_server.administration.service import AdministrationServicer
from security_server.reflection import reflect
from security_server.registration.services import ServiceDescription
from security_server.registration.store import RegistrationStore
from tests.security_server.databases import emptied, migrated
from tests.security_server.descriptors import (
    DESCRIPTORS,
    GET,
    LIST,
    PERSONS,
    POPULATION,
    TAX,
)
from tests.security_server.reflecting import Reflecting
from tests.security_server.registry import NOW, THERE, Configuration, configuration
from tests.security_server.systems import running
from vocabulary.faults import EntryUnknown, LedgerUnavailable
from vocabulary.identifiers import ServiceId, SubsystemId

NEW = SubsystemId.parse("EE-TEST/GOV/70000310/new")


class Ledger:
    """Counts and erases from a dictionary: values by entry."""

    def __init__(self):
        self.values = {3: 2, 4: 1}
        self.away = False
        self.reasons = []

    async def size(self):
        if self.away:
            raise LedgerUnavailable("start it")
        return LedgerSize(entries=5, rounds=9)

    async def openings(self, entries):
        return sum(self.values.get(entry, 0) for entry in entries)

    async def erase(self, entries, *, reason):
        if not all(entry in self.values for entry in entries):
            raise EntryUnknown("no such entry")
        for entry in entries:
            del self.values[entry]
        self.reasons.append(reason)
        return Appended(5, 9, b"\0" * 32)


class Administration:
    def __init__(self, store):
        self.store = store
        self.configuration = Configuration()
        self.ledger = Ledger()
        self.findings = [Finding("ledger", ok=True, detail="takes records")]
        self.stub = None

    async def probe(self):
        return self.findings

    def servicer(self):
        return AdministrationServicer(
            THERE,
            self.store,
            self.configuration,
            self.ledger,
            self.ledger,
            reflect=reflect,
            probes=[self.probe],
        )


@pytest.fixture(scope="module")
def dsns(postgres):
    return migrated(postgres, "local_administration")


@pytest.fixture
def socket():
    # A Unix socket's path has room for 107 octets.
    directory = Path(tempfile.mkdtemp(prefix="ristmik-"))
    yield directory / "admin"
    shutil.rmtree(directory)


@pytest.fixture
async def administration(dsns, socket):
    owner, login = dsns
    emptied(owner)
    store = RegistrationStore(login, lambda: NOW)
    await store.load()
    made = Administration(store)
    listening = server(THERE)
    add_AdministrationServiceServicer_to_server(made.servicer(), listening)
    bind_socket(listening, socket)
    await listening.start()
    async with aio.insecure_channel(f"unix:{socket}") as channel:
        made.stub = AdministrationServiceStub(channel)
        yield made
    await listening.stop(0)
    await store.close()


def persons(**changed):
    request = {
        "service": service_to_pb(PERSONS),
        "address": "127.0.0.1:9000",
        "descriptors": DESCRIPTORS,
        "personal": True,
        "request_subjects": ["GetRequest.code"],
        "response_subjects": ["Person.code"],
    }
    return pb.AddServiceRequest(**(request | changed))


def right(client=TAX, service=PERSONS, method=""):
    return pb.AccessRight(
        service=service_to_pb(service), client=subsystem_to_pb(client), method=method
    )


async def refused(call):
    with pytest.raises(aio.AioRpcError) as ended:
        await call
    fault = fault_of_status(ended.value.trailing_metadata())
    return ended.value.code(), fault.code, fault.detail


async def test_a_service_is_added_listed_and_removed(administration):
    stub = administration.stub
    added = (await stub.AddService(persons())).service
    assert added.service == service_to_pb(PERSONS)
    assert list(added.methods)[:2] == [GET, LIST]
    assert (added.personal, added.address) == (True, "127.0.0.1:9000")
    assert list(added.request_subjects) == ["GetRequest.code"]
    listed = await stub.ListServices(pb.ListServicesRequest())
    assert list(listed.services) == [added]
    await stub.RemoveService(pb.RemoveServiceRequest(service=added.service))
    assert not (await stub.ListServices(pb.ListServicesRequest())).services


async def test_a_service_is_asked_of_its_system_when_nothing_describes_it(
    administration,
):
    # Its file has another service too, which it does not list.
    both = FileDescriptorSet.FromString(DESCRIPTORS)
    both.file[0].service.add(name="Unlisted")
    described = ServiceDescription(both.SerializeToString(), ["persons.v1.Persons"])
    system = Reflecting(described)
    async with running(system):
        request = persons(descriptors=b"", address=system.address)
        added = (await administration.stub.AddService(request)).service
    assert list(added.methods)[:2] == [GET, LIST]
    registered = administration.store.service(PERSONS)
    assert registered.description.grpc_services == ("persons.v1.Persons",)


async def test_without_descriptors_and_system_nothing_is_registered(administration):
    request = persons(descriptors=b"", address="127.0.0.1:1")
    code, fault, detail = await refused(administration.stub.AddService(request))
    assert (code, fault) == (StatusCode.UNAVAILABLE, "SYSTEM_UNREACHABLE")
    assert "descriptor file" in detail
    assert not administration.store.current().services


@pytest.mark.parametrize(
    "changed",
    [
        {"address": "nowhere"},
        {"descriptors": b"\xff"},
        {"request_subjects": []},
        {"response_subjects": ["Person.name"]},
        {"personal": False},
    ],
)
async def test_a_registration_that_cannot_stand_is_refused(administration, changed):
    call = administration.stub.AddService(persons(**changed))
    code, fault, _ = await refused(call)
    assert (code, fault) == (StatusCode.INVALID_ARGUMENT, "REGISTRATION_INVALID")


async def test_rights_are_granted_listed_and_revoked(administration):
    stub = administration.stub
    await stub.AddService(persons())
    for each in (right(), right(method=LIST)):
        await stub.GrantAccess(pb.GrantAccessRequest(right=each))
    administration.store.require_right(TAX, PERSONS, GET)
    listed = await stub.ListAccess(pb.ListAccessRequest())
    assert list(listed.rights) == [right(), right(method=LIST)]
    await stub.RevokeAccess(pb.RevokeAccessRequest(right=right()))
    listed = await stub.ListAccess(pb.ListAccessRequest())
    assert list(listed.rights) == [right(method=LIST)]
    revoked = stub.RevokeAccess(pb.RevokeAccessRequest(right=right()))
    code, fault, _ = await refused(revoked)
    assert (code, fault) == (StatusCode.NOT_FOUND, "RIGHT_UNKNOWN")


UNKNOWN = {
    "service": (right(service=ServiceId(POPULATION, "x", "v1")), "SERVICE_UNKNOWN"),
    "method": (right(method="persons.v1.Persons/Put"), "METHOD_UNKNOWN"),
    "member": (right(client=NEW), "MEMBER_UNKNOWN"),
    "subsystem": (right(client=SubsystemId(TAX.member, "new")), "MEMBER_UNKNOWN"),
}


@pytest.mark.parametrize("what", UNKNOWN)
async def test_a_right_to_or_of_what_is_not_there_is_refused(administration, what):
    granted, expected = UNKNOWN[what]
    await administration.stub.AddService(persons())
    request = pb.GrantAccessRequest(right=granted)
    code, fault, _ = await refused(administration.stub.GrantAccess(request))
    assert fault == expected
    assert code in {StatusCode.NOT_FOUND, StatusCode.UNIMPLEMENTED}
    assert not administration.store.current().rights


async def test_who_was_registered_a_moment_ago_is_known(administration):
    administration.configuration.held = configuration(carried=())
    both = configuration(TAX, POPULATION)
    administration.configuration.newer = both
    await administration.stub.AddService(persons())
    administration.configuration.held = configuration(POPULATION)
    await administration.stub.GrantAccess(pb.GrantAccessRequest(right=right()))
    assert administration.store.current().rights


async def test_a_service_of_a_subsystem_that_is_carried_elsewhere_is_refused(
    administration,
):
    request = persons(service=service_to_pb(ServiceId(TAX, "taxes", "v1")))
    code, fault, _ = await refused(administration.stub.AddService(request))
    assert (code, fault) == (StatusCode.PERMISSION_DENIED, "NOT_REGISTERED")


async def test_a_client_is_set_and_listed(administration):
    client = pb.LocalClient(
        subsystem=subsystem_to_pb(POPULATION), plaintext_loopback=True
    )
    await administration.stub.SetClient(pb.SetClientRequest(client=client))
    listed = await administration.stub.ListClients(pb.ListClientsRequest())
    assert list(listed.clients) == [client]
    administration.store.require_client(POPULATION, plaintext=True)


async def test_a_client_that_another_server_carries_is_refused(administration):
    client = pb.LocalClient(subsystem=subsystem_to_pb(TAX), plaintext_loopback=True)
    call = administration.stub.SetClient(pb.SetClientRequest(client=client))
    code, fault, _ = await refused(call)
    assert (code, fault) == (StatusCode.PERMISSION_DENIED, "NOT_REGISTERED")
    listed = await administration.stub.ListClients(pb.ListClientsRequest())
    assert not listed.clients


async def test_a_malformed_identifier_is_refused(administration):
    client = pb.LocalClient(subsystem=SubsystemIdPb(subsystem_code="a b"))
    call = administration.stub.SetClient(pb.SetClientRequest(client=client))
    code, fault, _ = await refused(call)
    assert (code, fault) == (StatusCode.INVALID_ARGUMENT, "REGISTRATION_INVALID")


async def test_the_status_says_what_was_found(administration):
    failed = Finding("time-stamps", ok=False, detail="none", cure="start the TSA")
    administration.findings.append(failed)
    status = await administration.stub.GetStatus(pb.GetStatusRequest())
    assert [(each.name, each.ok, each.cure) for each in status.findings] == [
        ("ledger", True, ""),
        ("time-stamps", False, "start the TSA"),
    ]
    assert (status.entries, status.rounds) == (5, 9)
    assert status.configuration_version == 7
    expires_at = status.configuration_expires_at.ToDatetime()
    assert expires_at == (NOW + timedelta(minutes=10)).replace(tzinfo=None)
    assert status.security_server.server_code == "ss1"


async def test_the_status_is_given_without_database_and_configuration(administration):
    administration.ledger.away = True
    administration.configuration.held = None
    status = await administration.stub.GetStatus(pb.GetStatusRequest())
    assert [each.name for each in status.findings if not each.ok] == ["database"]
    assert status.configuration_version == 0


async def test_entries_are_erased_and_it_is_said_how_much_of_them(administration):
    request = pb.EraseEntriesRequest(entries=[3, 4], reason="a court said so")
    answer = await administration.stub.EraseEntries(request)
    assert (answer.erasure_entry, answer.openings) == (5, 3)
    assert administration.ledger.reasons == ["a court said so"]
    code, fault, _ = await refused(administration.stub.EraseEntries(request))
    assert (code, fault) == (StatusCode.NOT_FOUND, "ENTRY_UNKNOWN")


async def test_an_erasure_says_why(administration):
    call = administration.stub.EraseEntries(pb.EraseEntriesRequest(entries=[3]))
    code, _, detail = await refused(call)
    assert code is StatusCode.INVALID_ARGUMENT
    assert "reason" in detail
    assert 3 in administration.ledger.values
