"""The operating-system account that a private PostgreSQL runs as.

PostgreSQL refuses to run as root. Started by root, it runs as an account without
privileges; started by anyone else, as that user. Permissions of directories that were
there before are never changed: what the account cannot reach is refused.
"""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.sandbox.failures import DirectoryUnusable, PostgresUnusable

_UNPRIVILEGED = ("postgres", "nobody")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
_CHANGE_TO_EACH = (
    'for d; do cd -- "$d" 2>/dev/null || { printf %s "$d"; exit 1; }; done'
)


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int

    @property
    def dropped_to(self) -> bool:
        return self.uid != os.geteuid()

    def spawn(self, command: Sequence[str], *, output: int) -> subprocess.Popen[bytes]:
        """Start in a session of its own: Ctrl-C is for the supervisor alone."""
        dropped = self.dropped_to
        return subprocess.Popen(  # noqa: S603 - a list of ours, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_ENVIRONMENT,
            cwd="/",
            user=self.uid if dropped else None,
            group=self.gid if dropped else None,
            extra_groups=[] if dropped else None,
            umask=0o077,
            start_new_session=True,
        )

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        child = self.spawn(command, output=subprocess.PIPE)
        output = child.communicate()[0].decode(errors="replace")
        return subprocess.CompletedProcess(command, child.returncode, output)

    def own(self, path: Path) -> None:
        """Give the account what was just created for it."""
        if self.dropped_to:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def require_reach(self, directory: Path) -> None:
        """Raise DirectoryUnusable naming the first directory that keeps it out."""
        way = [*reversed(directory.parents), directory]
        reached = self.run(["/bin/sh", "-c", _CHANGE_TO_EACH, "sh", *map(str, way)])
        if reached.returncode:
            closed = reached.stdout
            raise DirectoryUnusable(
                f"{directory} cannot be reached by the account {self.name}, which "
                f"PostgreSQL runs as: {closed} is closed to it. Choose a directory "
                f"elsewhere, or run: chmod o+x {closed}"
            )


def account_for(data: Path) -> Account:
    """Whose account runs the server of this data directory, which may not exist yet."""
    invoker = os.geteuid()
    if data.exists():
        owner = data.stat().st_uid
        if invoker not in (0, owner):
            raise DirectoryUnusable(
                f"{data} belongs to user {owner}, not to you (user {invoker}): run "
                "this as that user, or choose another directory"
            )
        if owner == 0:
            raise DirectoryUnusable(
                f"{data} belongs to root, as which PostgreSQL refuses to run: choose "
                "another directory"
            )
        return _account(pwd_entry(owner))
    if invoker != 0:
        return _account(pwd_entry(invoker))
    return _unprivileged()


def pwd_entry(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError as error:
        raise PostgresUnusable(
            f"user {uid} has no entry in /etc/passwd, without which initdb does not "
            "run: add one, run this as another user, or set RISTMIK_POSTGRES to a DSN"
        ) from error


def _unprivileged() -> Account:
    for name in _UNPRIVILEGED:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise PostgresUnusable(
        "PostgreSQL refuses to run as root and there is no account postgres or nobody "
        "to run it as: create one, or set RISTMIK_POSTGRES to a DSN"
    )


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
