"""The working directory of a job: what is uploaded, and the zip file of it."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from sweeps.errors import SweepError

EXCLUDED = {".git", ".venv", "venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"}
"""Names of folders that are never uploaded. The store, the data and what git ignores are not uploaded either."""
SECRETS = {".netrc", "credentials", "id_rsa", "id_ed25519", ".git-credentials", ".pypirc"}
"""Names of files with passwords or keys; they are never uploaded."""


def relative_file(file: Path, folder: Path) -> str:
    """The sweep file's path in the uploaded folder. SweepError if the file is outside."""
    path, top = file.resolve(), folder.resolve()
    if not path.is_relative_to(top):
        raise SweepError(
            f"sweep file {file}",
            f"it is outside the working directory {top}, and nothing else is uploaded",
            "a file in the working directory",
            f"cd to the checkout that contains it, or --working-dir {path.parent}",
        )
    return path.relative_to(top).as_posix()


def pack(folder: Path, skipped: tuple[Path, ...], package: Path) -> None:
    """Zip a working directory. The same content gives the same bytes, so that Ray uploads it once.

    If it contains the code of this package, the commit of the checkout is added, as `.git` is not uploaded.
    SweepError if it is larger than Ray accepts.
    """
    from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE

    from cluster.worker import provenance

    away = [path.resolve() for path in skipped]
    files = [path for path in _files(folder) if not any(path.is_relative_to(place) for place in away)]
    commit = folder / provenance.COMMIT
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(set(files) - {commit}):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            entry.external_attr = (path.stat().st_mode & 0xFFFF) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
        if commit.with_name("provenance.py") in files:
            entry = zipfile.ZipInfo(provenance.COMMIT)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, provenance.commit_of(folder))
    size = package.stat().st_size
    if size >= GCS_STORAGE_MAX_SIZE:
        raise SweepError(
            f"working directory {folder}",
            f"it is {_mb(size)} packed, Ray accepts {_mb(GCS_STORAGE_MAX_SIZE)}; the largest: {_largest(package)}",
            "code and sweep files only; data belongs on the nodes or in the store",
            "move them elsewhere or add them to .gitignore, or use --working-dir with a smaller folder",
        )


def _files(folder: Path) -> Iterator[Path]:
    """The files of a checkout that git tracks or does not ignore; all files if there is no git."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        listed = None
    if listed is not None and listed.returncode == 0:
        paths = [folder / name for name in listed.stdout.split("\0") if name]
    else:
        paths = list(folder.rglob("*"))
    for path in paths:
        if path.is_file() and not EXCLUDED & set(path.relative_to(folder).parts[:-1]) and not _is_secret(path.name):
            yield path


def _is_secret(name: str) -> bool:
    """Whether a file, by its name, contains passwords or keys; git may not ignore such files."""
    return name.startswith(".env") or name.endswith((".pem", ".key", ".p12")) or name in SECRETS


def _largest(package: Path) -> str:
    """The three top-level entries that take up most of the package."""
    sizes: dict[str, int] = {}
    with zipfile.ZipFile(package) as archive:
        for entry in archive.infolist():
            first, slash, _ = entry.filename.partition("/")
            sizes[first + slash] = sizes.get(first + slash, 0) + entry.compress_size
    return ", ".join(f"{name} {_mb(sizes[name])}" for name in sorted(sizes, key=lambda name: -sizes[name])[:3])


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e6:.3f} MB"
