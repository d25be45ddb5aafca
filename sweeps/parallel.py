"""Parallel map over daemon threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def parallel_map(act: Callable[[T], R], items: Iterable[T], threads: int) -> list[R]:
    """Call `act` on each item in parallel. Returns results in the order of the items; raises the first exception.

    Not a ThreadPoolExecutor, because Python joins its threads at exit, which takes minutes if a server does not answer.
    """
    inputs = list(items)
    if len(inputs) <= 1:
        return [act(item) for item in inputs]
    results: list[Any] = [None] * len(inputs)
    errors: list[BaseException] = []
    left = iter(range(len(inputs)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = None if errors else next(left, None)
            if number is None:
                return
            try:
                results[number] = act(inputs[number])
            except BaseException as error:
                errors.append(error)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(inputs)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return results
