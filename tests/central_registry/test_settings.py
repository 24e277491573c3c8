import pytest

from central_registry.settings import Settings
from messaging.daemon import read_settings

GOOD = {
    "instance": "EE",
    "directory": "state",
    "database_dsn": "postgresql://login@/registry?host=/run/postgresql",
    "listen": "127.0.0.1:5400",
    "admin_socket": "registry.sock",
}


def read(tmp_path, **changed):
    path = tmp_path / "registry.toml"
    lines = (
        f"{key} = {value}" if isinstance(value, int) else f'{key} = "{value}"'
        for key, value in (GOOD | changed).items()
    )
    path.write_text("\n".join(lines))
    return read_settings(Settings, path)


def test_what_is_not_said_is_what_a_country_would_want(tmp_path):
    settings = read(tmp_path)
    assert settings.intervals.generation.total_seconds() == 60
    assert settings.intervals.validity.total_seconds() == 600
    assert settings.intervals.ocsp_freshness.total_seconds() == 3600
    assert settings.intervals.ocsp_fetch.total_seconds() == 1200
    assert settings.intervals.time_stamping.total_seconds() == 60
    assert settings.login == "login"


def test_may_listen_on_every_interface_under_an_address(tmp_path):
    settings = read(tmp_path, listen="0.0.0.0:5400", address="registry:5400")
    assert settings.address == "registry:5400"


def test_takes_no_setting_from_variables_meant_for_others(tmp_path, monkeypatch):
    monkeypatch.setenv("ADDRESS", "elsewhere:1")
    assert read(tmp_path).address is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"unknown_key": "x"}, "unknown_key"),
        ({"instance": "E/E"}, "instance"),
        ({"database_dsn": "mysql://x"}, "database_dsn"),
        ({"database_dsn": "postgresql:///nobody"}, "names the role"),
        ({"validity_s": 60}, "longer than generation_interval_s"),
        ({"generation_interval_s": 0}, "generation_interval_s"),
        ({"ocsp_freshness_s": 1 << 32}, "ocsp_freshness_s"),
        ({"listen": "0.0.0.0:5400"}, "every interface"),
        ({"address": "nowhere"}, "host:port"),
    ],
)
def test_refuses_what_makes_no_sense(tmp_path, changed, words):
    with pytest.raises(ValueError, match=words):
        read(tmp_path, **changed)
