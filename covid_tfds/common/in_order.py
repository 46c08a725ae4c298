"""Map a function over items on other threads, in order, a few items ahead."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def map_in_order(pool: ThreadPoolExecutor, function: Callable[[S], T], items: Iterable[S], ahead: int) -> Iterator[T]:
    """Yields function(item) of each item, in order, computed by the pool up to `ahead` items ahead.

    Example:
        >>> with ThreadPoolExecutor(2) as pool:
        ...     list(map_in_order(pool, abs, [-1, 2, -3], ahead=1))
        [1, 2, 3]
    """
    waiting: collections.deque[Future[T]] = collections.deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
