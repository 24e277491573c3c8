"""Waiting for what must come true, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.05
WITHIN_S = 30.0


def until(check: Callable[[], T], what: str, *, within_s: float = WITHIN_S) -> T:
    """Give the first true answer; fail the test, naming `what`, if none comes."""
    end = time.monotonic() + within_s
    while not (answer := check()):
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(POLL_S)
    return answer


async def eventually(
    check: Callable[[], Awaitable[T]], what: str, *, within_s: float = WITHIN_S
) -> T:
    """Give the first true answer; fail the test, naming `what`, if none comes."""
    end = time.monotonic() + within_s
    while not (answer := await check()):
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        await asyncio.sleep(POLL_S)
    return answer
