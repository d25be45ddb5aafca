"""Do something to many things side by side, in threads that end with their process, whatever they wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(act: Callable[[T], R], items: Iterable[T], threads: int) -> list[R]:
    """`act` of each item, in their order. The first exception ends the rest and is raised.

    Not a ThreadPoolExecutor: Python waits for its threads when it ends, here for minutes where a server is away.
    """
    given = list(items)
    if len(given) <= 1:
        return [act(item) for item in given]
    results: list[Any] = [None] * len(given)
    errors: list[BaseException] = []
    left = iter(range(len(given)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = None if errors else next(left, None)
            if number is None:
                return
            try:
                results[number] = act(given[number])
            except BaseException as error:
                errors.append(error)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(given)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return results
