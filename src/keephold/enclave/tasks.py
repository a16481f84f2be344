"""Loops that live and die together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


async def run_together(*loops: Coroutine[object, object, None]) -> None:
    """Run loops until one raises; stop the others and raise its error, not a group: one reason ends a process."""
    try:
        async with asyncio.TaskGroup() as group:
            for loop in loops:
                group.create_task(loop)
    except BaseExceptionGroup as errors:
        raise first(errors) from errors


def first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error inside, groups opened."""
    inner = errors.exceptions[0]
    return first(inner) if isinstance(inner, BaseExceptionGroup) else inner
