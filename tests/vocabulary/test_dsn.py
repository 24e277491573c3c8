"""One form of data source name in settings, whatever SQLAlchemy wants."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from vocabulary.dsn import sqlalchemy_url, user_of


def arguments(dsn: str) -> dict[str, object]:
    url = make_url(sqlalchemy_url(dsn))
    assert url.drivername == "postgresql+psycopg2"
    _, keywords = url.get_dialect()().create_connect_args(url)
    return dict(keywords)


def test_a_socket_directory_stays_readable():
    url = "postgresql+psycopg2://U:P@/DB?host=/sock/dir"
    assert sqlalchemy_url("postgresql://U:P@/DB?host=/sock/dir") == url


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql:///x", {"dbname": "x"}),
        ("postgres://a@h/x", {"user": "a", "host": "h", "dbname": "x"}),
        (
            "postgresql://a:b@10.0.0.1:6432/x?sslmode=require",
            {
                "user": "a",
                "password": "b",
                "host": "10.0.0.1",
                "port": "6432",
                "dbname": "x",
                "sslmode": "require",
            },
        ),
        ("postgresql://[::1]:5/x", {"host": "::1", "port": "5", "dbname": "x"}),
        ("postgresql://[::1]/x", {"host": "::1", "dbname": "x"}),
        ("postgresql://g:1,h:2/x", {"host": "g,h", "port": "1,2", "dbname": "x"}),
        ("postgresql://%2Fvar%2Frun/x", {"host": "/var/run", "dbname": "x"}),
        (
            "postgresql:///x?options=-c%20a%3D1+1",
            {"dbname": "x", "options": "-c a=1+1"},
        ),
    ],
)
def test_libpq_forms(dsn: str, expected: dict[str, object]):
    assert arguments(dsn) == expected


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_any_login_survives(user: str, password: str, name: str):
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    got = arguments(f"postgresql://{login}@/{quote(name, safe='')}?host=/s")
    assert got == {"user": user, "password": password, "dbname": name, "host": "/s"}


@pytest.mark.parametrize("dsn", ["mysql://a/b", "a=b host=c", ""])
def test_another_form_is_refused(dsn: str):
    with pytest.raises(ValueError, match="libpq URI"):
        sqlalchemy_url(dsn)


def test_a_dsn_names_the_role_that_logs_in():
    assert user_of("postgresql://a%40b:p@/name?host=/run") == "a@b"
    with pytest.raises(ValueError, match="user"):
        user_of("postgresql://host/name")
