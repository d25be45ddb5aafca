"""Lists what this package has written to a store, and passes over everything else.

File managers, synchronisers, editors and network file systems leave files in folders (`.DS_Store`, `Thumbs.db`,
`.nfs0001`, `0001 (conflicted copy).json`, `0001.json~`). A key counts only if it has one of the forms below, which
`sweeps.store.layout` explains. Every listing of a store outside the stores themselves goes through this module, so that
`foreign`, for `sweeps doctor`, is the only place that sees other files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sweeps.store.base import Store
from sweeps.store.local import FolderStore

NAME = r"[a-z0-9][a-z0-9_-]{0,79}"
"""The form of names of sweeps and of ids of trials and forged sets."""
JUNK = (
    r"\._.*|\.DS_Store|\.nfs[0-9a-fA-F]+|\.fuse_hidden.*|\.directory|Thumbs\.db|ehthumbs\.db|[dD]esktop\.ini"
    r"|.*~|.*\(.*conflicted copy.*\).*"
)
"""Names of files that other programs leave in folders whose files may have any name."""
_HASH, _NUMBER = r"[0-9a-f]{8,64}", r"(0|[1-9][0-9]{0,17})"
_FOUR = r"([0-9]{4}|[1-9][0-9]{4,17})"
"""A number with at least four digits."""
_ATTEMPT = rf"{_FOUR}-[0-9a-z]+"
_FORMS = (
    f"trials/{NAME}/trial\\.json",
    f"trials/{NAME}/attempts/{_FOUR}\\.json",
    f"trials/{NAME}/attempts/{_ATTEMPT}\\.(beat|end)\\.json",
    f"trials/{NAME}/log/{_ATTEMPT}\\.txt",
    f"trials/{NAME}/checkpoint/{_ATTEMPT}/{_NUMBER}/**",
    f"trials/{NAME}/samples/{_ATTEMPT}/{_NUMBER}/**",
    f"trials/{NAME}/result/{_NUMBER}\\.json",
    f"code/{_HASH}\\.json",
    f"code/{_HASH}/**",
    f"modules/{_HASH}\\.json",
    f"fingerprints/{_HASH}\\.json",
    f"sweeps/{NAME}/plans/{_FOUR}\\.json",
    f"sweeps/{NAME}/search/[A-Za-z0-9-]+/(search|{_FOUR}\\.(ask|tell|trials))\\.json",
    f"sweeps/{NAME}/pruned/{NAME}\\.json",
    f"sweeps/{NAME}/data/{_FOUR}\\.json",
    f"sweeps/{NAME}/stops/[0-9a-z_-]+\\.json",
    f"sweeps/{NAME}/notes/[0-9a-f]{{8,64}}\\.json",
    f"sweeps/{NAME}/pictures/{NAME}/[0-9a-z-]+/**",
    f"sweeps/{NAME}/(records\\.parquet|(summary|fresh|leaks)\\.json)",
    f"gates/{NAME}/gate\\.json",
    f"gates/{NAME}/(candidates|verdicts)/{_FOUR}\\.json",
    f"gates/{NAME}/tries/{_FOUR}(\\.(beat|end))?\\.json",
    "logs/(tensorboard|mlflow|wandb)/**",
    f"datasets/{NAME}/**",
    f"reports/{NAME}/**",
    "doctor/[0-9a-f]+",
)
"""Regular expressions of keys; `**` stands for one or more names that are not `JUNK`."""
_ANY = rf"(?!({JUNK})(/|$))[^/]+"
_KEY = re.compile("|".join(form.replace("**", f"{_ANY}(/{_ANY})*") for form in _FORMS))
_PARTS = tuple(tuple(re.compile(_ANY if part == "**" else part) for part in form.split("/")) for form in _FORMS)
_OPEN = tuple(form.endswith("**") for form in _FORMS)


def is_ours(key: str) -> bool:
    """Whether a key has the form of an object that this package writes."""
    return _KEY.fullmatch(key) is not None


def keys(store: Store, prefix: str) -> list[str]:
    """Keys of ours under a prefix that ends with `/` (or is empty), sorted."""
    return [key for key in store.keys(prefix) if is_ours(key)]


def find(store: Store, prefixes: Iterable[str]) -> dict[str, str]:
    """Key -> version of all objects of ours under any of the prefixes; see `Store.find`."""
    return {key: version for key, version in store.find(prefixes).items() if is_ours(key)}


def children(store: Store, folder: str) -> list[str]:
    """Names of ours directly below a folder, sorted."""
    above = folder.strip("/").split("/")
    return [name for name in store.children(folder) if _begins_key([*above, name])]


def numbers(store: Store, folder: str) -> list[int]:
    """The numbers of the objects `<number>.json` directly below a folder, ascending."""
    names = (name.removesuffix(".json") for name in children(store, folder) if name.endswith(".json"))
    return sorted(int(name) for name in names if name.isdigit())


def foreign(store: Store) -> Iterator[str]:
    """Keys and links in a store that this package has not written."""
    yield from (key for key in store.keys("") if not is_ours(key))
    if isinstance(store, FolderStore):
        yield from store.links()


def _begins_key(parts: list[str]) -> bool:
    """Whether the first parts of a key have the form of ours."""
    for form, is_open in zip(_PARTS, _OPEN, strict=True):
        deeper = len(parts) - len(form)
        if (deeper <= 0 or is_open) and all(map(re.Pattern.fullmatch, [*form, *form[-1:] * max(0, deeper)], parts)):
            return True
    return False
