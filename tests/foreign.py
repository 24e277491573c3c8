"""Other people's programs that judge ours."""

import os
import shutil

import pytest


def program(name: str, *, package: str) -> str:
    """Give the path of a foreign program.

    Where it is missing the test is skipped by hand, and fails in CI, which installs it.
    """
    found = shutil.which(name)
    if found is not None:
        return found
    reason = f"{name} is not there: install Debian's package {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
