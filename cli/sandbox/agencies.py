"""What the sandbox instance consists of, as data: three agencies and what they offer.

Real members' registry codes and names, so that examples read like the country they are
about; every person in the agencies' systems is made up.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from vocabulary.identifiers import MemberId, SecurityServerId, ServiceId, SubsystemId

INSTANCE: Final = "EE-SANDBOX"
REGISTRY_ID: Final = f"{INSTANCE}/registry"


@dataclass(frozen=True, slots=True)
class OfferedService:
    """A personal service, and the fields of its messages that identify persons."""

    id: ServiceId
    # Its agency's own system: `python -m MODULE --listen HOST:PORT`.
    module: str
    request_subjects: tuple[str, ...]
    response_subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Agency:
    """A member with one subsystem on one security server of its own."""

    name: str
    subsystem: SubsystemId
    offers: OfferedService | None = None

    @property
    def member(self) -> MemberId:
        return self.subsystem.member

    @property
    def server(self) -> SecurityServerId:
        return SecurityServerId(self.member, "ss1")

    @property
    def code(self) -> str:
        """What its programs, files and databases are called by."""
        return self.subsystem.code


def _service(subsystem: SubsystemId, code: str) -> ServiceId:
    return ServiceId(subsystem, code, "v1")


TAX: Final = SubsystemId(MemberId(INSTANCE, "GOV", "70000349"), "tax")
POPULATION: Final = SubsystemId(MemberId(INSTANCE, "GOV", "70008440"), "population")
HEALTH: Final = SubsystemId(MemberId(INSTANCE, "GOV", "74000091"), "health")

PERSONS: Final = OfferedService(
    _service(POPULATION, "persons"),
    "examples.agencies.population",
    ("GetPersonRequest.person_id",),
    (
        "Person.id",
        "FindPersonsResponse.persons.id",
        "ListPersonsResponse.persons.id",
    ),
)
INSURANCE: Final = OfferedService(
    _service(HEALTH, "insurance"),
    "examples.agencies.health",
    ("GetInsuranceRequest.person_id", "ListVisitsRequest.person_id"),
    ("Insurance.person_id", "ListVisitsResponse.visits.person_id"),
)
AGENCIES: Final = (
    Agency("Maksu- ja Tolliamet", TAX),
    Agency("Rahvastikuregister", POPULATION, PERSONS),
    Agency("Tervisekassa", HEALTH, INSURANCE),
)
# The health fund's register is offered and nobody has a right to it.
GRANTS: Final = ((PERSONS.id, TAX),)

PURPOSES: Final[Mapping[str, str]] = {
    "TAX_ASSESSMENT": "Maksude määramine",
    "TAX_COLLECTION": "Maksuvõla sissenõudmine",
    "SOCIAL_BENEFIT": "Toetuse või hüvitise määramine",
    "HEALTHCARE": "Tervishoiuteenuse osutamine",
    "HEALTH_INSURANCE": "Ravikindlustuskaitse kontrollimine",
    "CIVIL_STATUS": "Perekonnaseisutoimingu tegemine",
    "LICENSING": "Loa või litsentsi menetlemine",
    "SUPERVISION": "Riiklik järelevalve",
    "STATISTICS": "Riikliku statistika tegemine",
    "DATA_QUALITY": "Andmete õigsuse kontrollimine",
}
# Act and section.
LEGAL_BASES: Final[Mapping[str, str]] = {
    "MKS-30": "Maksukorralduse seadus, paragrahv 30",
    "MKS-61": "Maksukorralduse seadus, paragrahv 61",
    "RRS-49": "Rahvastikuregistri seadus, paragrahv 49",
    "RAKS-12": "Ravikindlustuse seadus, paragrahv 12",
    "TTKS-4-1": "Tervishoiuteenuste korraldamise seadus, paragrahv 4-1",
    "SHS-15": "Sotsiaalhoolekande seadus, paragrahv 15",
    "RSTS-29": "Riikliku statistika seadus, paragrahv 29",
    "GDPR-6-1-c": "Isikuandmete kaitse üldmäärus, artikkel 6 lõige 1 punkt c",
    "GDPR-6-1-e": "Isikuandmete kaitse üldmäärus, artikkel 6 lõige 1 punkt e",
    "GDPR-9-2-h": "Isikuandmete kaitse üldmäärus, artikkel 9 lõige 2 punkt h",
}

# A call that succeeds.
EXAMPLE: Final[Mapping[str, str]] = {
    "client": str(TAX),
    "service": str(PERSONS.id),
    "method": "population.v1.PersonRegistry/GetPerson",
    "json": '{"person_id": "PNOEE-39901012239"}',
    "subject": "PNOEE-39901012239",
    "purpose": "TAX_ASSESSMENT",
    "legal_basis": "MKS-30",
}


def offered_services() -> Iterator[tuple[Agency, OfferedService]]:
    for agency in AGENCIES:
        if agency.offers is not None:
            yield agency, agency.offers
