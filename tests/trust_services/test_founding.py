"""Keys and certificates: made once, taken up where a start was cut short."""

from contextlib import closing
from datetime import UTC, datetime

import pytest

from trust_services.founding import found
from trust_services.store import Store

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILES = ["ca.key", "ca.pem", "ocsp.key", "ocsp.pem", "tsa.key", "tsa.pem"]


@pytest.fixture
def start(tmp_path, trust_services_dsns):
    directory = tmp_path / "state"
    with closing(Store(trust_services_dsns[1])) as store:

        def start(instance="EE-SANDBOX"):
            return found(
                directory,
                instance=instance,
                ocsp_url="http://127.0.0.1/ocsp",
                store=store,
                clock=lambda: AT,
            )

        start.directory, start.store = directory, store
        yield start


def certificates(services):
    holders = (services.responder, services.time_stamping)
    return [services.authority.certificate, *(each.certificate for each in holders)]


def test_a_second_start_finds_what_the_first_made(start):
    first = start()
    assert sorted(each.name for each in start.directory.iterdir()) == FILES
    assert certificates(start()) == certificates(first)
    serials = [each.x509.serial_number for each in certificates(first)[1:]]
    assert all(start.store.find(serial) for serial in serials)


@pytest.mark.parametrize("missing", [FILES[count:] for count in range(1, len(FILES))])
def test_a_start_that_was_cut_short_is_taken_up(start, missing):
    first = certificates(start())
    for name in missing:
        (start.directory / name).unlink()
    again = certificates(start())
    assert again == certificates(start())
    kept = [
        certificate
        for certificate, name in zip(first, FILES[1::2], strict=True)
        if name not in missing
    ]
    assert again[: len(kept)] == kept


def test_a_directory_is_of_one_instance(start):
    start()
    with pytest.raises(ValueError, match="directory of its own"):
        start("EE-OTHER")


def test_a_certificate_of_another_key_is_refused(start):
    start()
    (start.directory / "tsa.key").unlink()
    with pytest.raises(ValueError, match=r"tsa\.pem is not of the key"):
        start()


def test_a_certificate_of_another_authority_is_refused(start):
    start()
    for name in ("ca.key", "ca.pem"):
        (start.directory / name).unlink()
    with pytest.raises(ValueError, match=r"ocsp\.pem was not issued by ca\.pem"):
        start()


def test_a_key_that_cannot_be_read_is_named(start):
    start()
    (start.directory / "ca.key").write_text("torn")
    with pytest.raises(ValueError, match=r"ca\.key holds no"):
        start()


def test_a_certificate_that_cannot_be_read_is_named(start):
    start()
    (start.directory / "tsa.pem").write_text("torn")
    with pytest.raises(ValueError, match=r"tsa\.pem"):
        start()
