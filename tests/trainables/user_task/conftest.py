"""The files of users, as for other code."""

from tests.trainables.code.conftest import _own_cache, write

__all__ = ["_own_cache", "write"]
