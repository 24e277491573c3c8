"""Wait for what has to come, and no longer."""

import asyncio


async def until(condition, *, seconds=5.0):
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)
