"""Data source names: libpq's URI is the one form that settings and contracts use."""

from urllib.parse import quote, unquote, urlsplit

_SCHEMES = ("postgresql", "postgres")


def sqlalchemy_url(dsn: str) -> str:
    """Give a libpq URI in SQLAlchemy's spelling, for its psycopg2 dialect.

    Hosts and ports move into the query, where a socket directory, an IPv6 address and a
    list of hosts are all spelled alike.
    """
    parts = urlsplit(dsn)
    if parts.scheme not in _SCHEMES:
        raise ValueError("not a libpq URI; write postgresql://USER:PASSWORD@HOST/NAME")
    login, _, hosts = parts.netloc.rpartition("@")
    user, colon, password = login.partition(":")
    credentials = f"{_quoted(user)}{colon}{_quoted(password)}@" if login else ""
    pairs = (pair.partition("=") for pair in parts.query.split("&") if pair)
    query = [*_hosts(hosts), *((key, value) for key, _, value in pairs)]
    text = "&".join(f"{key}={_quoted(value, safe='/,:')}" for key, value in query)
    name = _quoted(parts.path.removeprefix("/"))
    return f"postgresql+psycopg2://{credentials}/{name}" + (f"?{text}" if text else "")


def user_of(dsn: str) -> str:
    """Name the role that a libpq URI logs in with; ValueError if it names none."""
    user = unquote(urlsplit(dsn).netloc.rpartition("@")[0].partition(":")[0])
    if not user:
        raise ValueError("a DSN without a user; write postgresql://USER:PASSWORD@…")
    return user


def _hosts(text: str) -> list[tuple[str, str]]:
    if not text:
        return []
    hosts = [_host_and_port(host) for host in text.split(",")]
    query = [("host", ",".join(host for host, _ in hosts))]
    if any(port for _, port in hosts):
        query.append(("port", ",".join(port for _, port in hosts)))
    return query


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = text.partition(":")
    return host, port


def _quoted(text: str, *, safe: str = "") -> str:
    """Quote once what libpq has quoted once; to libpq a plus sign is no space."""
    return quote(unquote(text), safe=safe)
