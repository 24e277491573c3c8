"""Ask an authority something over HTTP: one POST, a capped answer, a bounded time."""

import asyncio
from dataclasses import dataclass

import httpx2

# Ours are of 1 kB; a foreign one with a chain of ML-DSA certificates has 30 kB.
ANSWER_LIMIT = 64 * 1024
TIMEOUT_S = 5.0


class NoAnswer(Exception):
    """The authority gave no usable answer; the message says why."""


@dataclass(frozen=True, slots=True)
class MediaTypes:
    question: str
    answer: str


async def ask(
    client: httpx2.AsyncClient, url: str, *, question: bytes, media: MediaTypes
) -> bytes:
    """Post `question` and give the answer's body; raises NoAnswer."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _ask(client, url, question, media)
    except TimeoutError as error:
        raise NoAnswer(f"{url} did not answer within {TIMEOUT_S:.0f} s") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise NoAnswer(f"{url} could not be asked: {reason}") from error


async def _ask(
    client: httpx2.AsyncClient, url: str, question: bytes, media: MediaTypes
) -> bytes:
    headers = {
        "Content-Type": media.question,
        "Accept": media.answer,
        "Accept-Encoding": "identity",
    }
    async with client.stream(
        "POST", url, content=question, headers=headers, follow_redirects=False
    ) as response:
        if response.status_code != httpx2.codes.OK:
            raise NoAnswer(f"{url} answered with HTTP status {response.status_code}")
        media_type = response.headers.get("content-type", "nothing").partition(";")[0]
        if media_type.strip().lower() != media.answer:
            raise NoAnswer(f"{url} answered with {media_type}, not {media.answer}")
        if "content-encoding" in response.headers:
            # Decoded, a few octets could be more than memory holds.
            raise NoAnswer(f"{url} answered in an encoding that was not asked for")
        answer = bytearray()
        async for chunk in response.aiter_bytes():
            answer += chunk
            if len(answer) > ANSWER_LIMIT:
                raise NoAnswer(f"{url} answered with more than {ANSWER_LIMIT} octets")
        return bytes(answer)
