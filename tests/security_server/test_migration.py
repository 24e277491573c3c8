"""A security server's database as its owner makes it, from the command line."""

import subprocess
import sys

import psycopg
import pytest

SETTINGS = """
id = "EE-TEST/GOV/70000349/ss1"
directory = "{here}"
anchor = "{here}/anchor.json"
database_dsn = "{writer}"
eraser_dsn = "{eraser}"
reader_role = "migrated_reader"
local_listen = "127.0.0.1:1"
peer_listen = "127.0.0.1:2"
http_listen = "127.0.0.1:3"
admin_socket = "{here}/admin.sock"
signing_key = "{here}/signing.key"
signing_certificate = "{here}/signing.pem"
authentication_key = "{here}/authentication.key"
authentication_certificate = "{here}/authentication.pem"
checkpoint_key = "{here}/checkpoint.key"
"""
OWNED = """
SELECT count(*) FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner
WHERE rolname = current_user
"""


@pytest.fixture
def settings(postgres, tmp_path):
    for role in ("owner", "login", "reader", "eraser"):
        postgres.create_role(f"migrated_{role}")
    postgres.create_database("migrated", owner="migrated_owner")
    dsns = {
        role: postgres.role_dsn(f"migrated_{role}", database="migrated")
        for role in ("owner", "login", "reader", "eraser")
    }
    path = tmp_path / "server.toml"
    path.write_text(
        SETTINGS.format(here=tmp_path, writer=dsns["login"], eraser=dsns["eraser"])
    )
    return path, dsns


def run(path, *arguments):
    command = [sys.executable, "-m", "security_server", "--settings", str(path)]
    return subprocess.run(  # noqa: S603 - our own program
        [*command, *arguments], capture_output=True, text=True, check=False
    )


def test_the_owner_migrates_and_the_logins_own_nothing(settings):
    path, dsns = settings
    for _ in range(2):
        migrated = run(path, "migrate", "--owner-dsn", dsns["owner"])
        assert (migrated.returncode, migrated.stdout) == (0, ""), migrated.stderr
    for role in ("login", "reader", "eraser"):
        with psycopg.connect(dsns[role]) as connection:
            assert connection.execute(OWNED).fetchone() == (0,)
            assert connection.execute("SELECT count(*) FROM ledger.entry").fetchone()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("UPDATE ledger.entry SET round = 1")


def test_settings_that_make_no_sense_are_named(settings):
    path, _ = settings
    path.write_text(path.read_text().replace("EE-TEST/GOV/70000349/ss1", "nowhere"))
    refused = run(path)
    assert refused.returncode == 2
    assert "not a security server identifier" in refused.stderr
