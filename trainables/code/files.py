"""Files that the options of a user's code name, such as weights: they belong to the trial as its code does.

An option of the type `Path` (or pydantic's `FilePath`) is a file. When a sweep is planned, the file is put into the
cache of code, and the option becomes NAME#HASH. The file is then stored, checked and sent as the code is, and the code
gets the path of the copy, which has been checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from trainables.code import cache
from trainables.errors import TrialError

PINNED = re.compile(r"(?P<name>[^/\\#\0]+)#(?P<hash>[0-9a-f]{16})")
MOST_BYTES = 2_000_000_000
"""A larger file is refused, because it is read into memory."""


@lru_cache(maxsize=512)
def file_options(config: type[BaseModel]) -> tuple[str, ...]:
    """The options of a class that are files."""
    return tuple(name for name, field in config.model_fields.items() if _is_path(field.annotation))


def _is_path(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation is Path or (not isinstance(annotation, type) and any(map(_is_path, get_args(annotation))))


def pin_options(config: type[BaseModel], section: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, str]:
    """The options of a section that are files, as NAME#HASH; without those that are left out or no text.

    context: as for `registry.resolve_name`. Raises TrialError for a file that does not exist or cannot be read.
    """
    found: dict[str, str] = {}
    for option in file_options(config):
        field = config.model_fields[option]
        value = section.get(option, None if field.is_required() else field.get_default(call_default_factory=True))
        if isinstance(value, str | Path):
            found[option] = _pin(option, str(value), context)
    return found


def _pin(option: str, written: str, context: Mapping[str, Any]) -> str:
    known: dict[str, str] = context.get("user_code", {})
    if PINNED.fullmatch(written):
        return written
    if written not in known:
        if context.get("folder") is None:
            raise unpinned_error(f"{option}: {written}", "file", option)
        known[written] = _kept(option, written, context["folder"] / Path(written).expanduser())
    return known[written]


def unpinned_error(given: str, what: str, key: str = "") -> TrialError:
    """The error for a name of code or of a file that is not pinned, where no folder of a sweep file is known.

    A stored plan is data: it must not choose files of the reader's machine, not even those of the working directory.
    """
    return TrialError(
        given,
        f"the stored plan does not say which {what} it means, and it is looked up only for a sweep file",
        f"{what} that the plan names with its hash",
        "in the folder of the sweep file: sweeps run FILE",
        key,
    )


def _kept(option: str, written: str, file: Path) -> str:
    try:
        size = file.stat().st_size
        if not file.is_file():
            raise OSError(0, "it is not a file")
        if size <= MOST_BYTES and "#" not in file.name:
            return f"{file.name}#{cache.keep({file.name: file.read_bytes()})}"
    except (OSError, SyntaxError) as error:
        why = f"{file} cannot be read: {getattr(error, 'strerror', None) or error}"
        allowed = "a readable file: an absolute path, or one relative to the sweep file"
        raise TrialError(f"{option}: {written}", why, allowed, f"correct `{option}`", option) from error
    why = f"it has {size / 1e9:.1f} GB" if size > MOST_BYTES else "its name has a `#`"
    allowed = f"a file of at most {MOST_BYTES / 1e9:.0f} GB, whose name has no `#`"
    raise TrialError(f"{option}: {written}", why, allowed, "put the file on every node, and name it by text", option)


def path_of(pinned: str) -> Path:
    """The copy of a file in the cache of code. Raises TrialError if it is not there, or has been changed."""
    match = PINNED.fullmatch(pinned)
    if match is None or match["name"] in (".", ".."):
        raise TrialError(
            f"{pinned!r}", "it is not the name of a file that was planned", "NAME#HASH", "plan the sweep again"
        )
    file = cache.cache_folder() / match["hash"] / match["name"]
    try:
        stat = file.stat()
        whole = _unchanged(match["hash"], file, (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    except OSError:
        whole = False
    if not whole:
        raise TrialError(
            f"file {pinned}",
            "the file is not on this machine, or has been changed in the cache",
            "a file that a sweep or a store has brought here",
            "run the command again",
        )
    return file


@lru_cache(maxsize=64)
def _unchanged(name: str, file: Path, state: tuple[int, ...]) -> bool:  # noqa: ARG001 - part of the key
    return cache.is_kept(name)
