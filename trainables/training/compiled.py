"""Networks compiled by `torch.compile`, for `compile: true`.

Every process has a cache of generated code of its own, which its trials share. torch's default is one cache for all
processes, in which a process that is killed while it compiles leaves a truncated file: from then on, every compilation
of the same network fails. A cache that the environment names is used as it is.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainables.errors import TrialError

COMPILERS = ("g++", "c++", "clang++")
"""The C++ compilers that torch looks for, after $CXX."""


CACHE = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable with the folder of torch's generated code; torch reads it whenever it compiles."""
_GIVEN = os.environ.get(CACHE)
_OPEN = contextlib.ExitStack()
atexit.register(_OPEN.close)

Scratch = Callable[[str], contextlib.AbstractContextManager[Path]]


def compiled(module: nn.Module, scratch: Scratch) -> nn.Module:
    """The module compiled for training; its parameters and state stay those of the given module.

    Code is generated in the first steps, which takes minutes for a large network. Raises TrialError like
    `check_compiler`.

    scratch: makes the folder of the cache, see `Machine.scratch`.
    """
    check_compiler(True, None)
    if _GIVEN is None:
        os.environ[CACHE] = str(_cache_folder(scratch))
    faster: Any = torch.compile(module)
    assert isinstance(faster, nn.Module)
    return faster


@cache
def _cache_folder(scratch: Scratch) -> Path:
    """A folder for the rest of this process."""
    return _OPEN.enter_context(scratch("compiled"))


def check_compiler(wanted: bool, root: Path | None) -> None:  # noqa: ARG001 - as every check
    """Raise TrialError if this machine has no C++ compiler, with which torch builds the generated code."""
    if wanted and not any(shutil.which(name) for name in (os.environ.get("CXX"), *COMPILERS) if name):
        raise TrialError(
            "compile: true",
            "torch.compile needs a C++ compiler on the machine that trains, and this one has none",
            f"a machine with one of {', '.join(COMPILERS)}, or with the environment variable CXX",
            "install one (Debian, Ubuntu: apt install g++), or set `compile: false`",
            "compile",
        )
