"""Work on many files at once, in threads: decoding, resizing and encoding leave Python's lock to others."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

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


def without_blas_threads() -> AbstractContextManager[Any]:
    """Keep NumPy's matrix products in the thread that asks for them, as long as this is entered.

    To be used around `in_threads`: threads of both kinds wait for one another on the same cores, and a product of a
    few milliseconds then takes a hundred.
    """
    limits: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
    return limits
