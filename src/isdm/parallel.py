"""Work on many files at once, in threads: decoding, resizing and encoding leave Python's lock to others."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""Items a core that are taken ahead of the one that is waited for."""


def num_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Give `function(item)` of each item, in their order, worked out on all cores.

    Only a few results wait at any time, so memory does not grow with the number of items. The first exception
    is raised where its result would have come; what was not begun then is left undone.
    """
    threads = ThreadPoolExecutor(num_cores())
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(threads.submit(function, item))
            if len(waiting) > AHEAD * num_cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)
