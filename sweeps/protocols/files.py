"""The files of protocols: those of the package, by name, and a user's own, by path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweeps.spec import yaml_document
from sweeps.spec.loader import unknown_name_error

FOLDER = Path(__file__).parent / "shipped"


def names() -> list[str]:
    """The names of the protocols that come with the package, sorted; a name is that of its file."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(given: str | Path) -> tuple[str, dict[str, Any]]:
    """The name and content of a protocol. given: the name of a shipped one, or the path of a file that ends in .yaml.

    SweepError with similar names if there is none, and for a file that is no YAML.
    """
    if str(given) in names():
        return str(given), yaml_document.read(FOLDER / f"{given}.yaml").value
    path = Path(given)
    if path.suffix in (".yaml", ".yml"):
        return path.stem, yaml_document.read(path).value
    raise unknown_name_error(f"--protocol {given}", str(given), names())
