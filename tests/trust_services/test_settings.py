"""What the trust services are told, and what they do not let themselves be told."""

from datetime import timedelta

import pytest

from messaging.daemon import read_settings
from trust_services.settings import Settings

GOOD = {
    "instance": '"EE-SANDBOX"',
    "directory": '"state"',
    "database_dsn": '"postgresql:///x"',
    "http_listen": '"127.0.0.1:8080"',
    "admin_socket": '"admin.sock"',
}


@pytest.fixture
def read(tmp_path):
    def read(**changed):
        path = tmp_path / "settings.toml"
        lines = (GOOD | changed).items()
        path.write_text("".join(f"{key} = {value}\n" for key, value in lines))
        return read_settings(Settings, path)

    return read


def test_what_is_not_said_has_a_default(read):
    settings = read()
    assert settings.ocsp_validity == timedelta(minutes=10)
    assert settings.ocsp_url == "http://127.0.0.1:8080/ocsp"


def test_the_login_is_that_of_the_dsn(read):
    dsn = '"postgresql://trust%2Bx:secret@/x?host=/run"'
    assert read(database_dsn=dsn).login == "trust+x"


def test_others_may_know_it_by_another_address(read):
    settings = read(public_url='"http://trust.example/"')
    assert settings.ocsp_url == "http://trust.example/ocsp"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("surprise", "1"),
        ("ocsp_validity_s", "0"),
        ("instance", '"EE/X"'),
        ("http_listen", '"nowhere"'),
        ("http_listen", '"127.0.0.1:0"'),
        ("public_url", '"ftp://x"'),
        ("database_dsn", '"host=x"'),
    ],
)
def test_what_is_wrong_is_named(read, key, value):
    with pytest.raises(ValueError, match=key):
        read(**{key: value})


def test_what_is_missing_is_named(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("")
    with pytest.raises(ValueError, match="database_dsn"):
        read_settings(Settings, path)
