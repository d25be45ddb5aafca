"""Files that other programs leave in folders, and all folders of a tree."""

from __future__ import annotations

from pathlib import Path

NAMES = (
    *(".DS_Store", "._0001.json", "._image.png", "Thumbs.db", "desktop.ini", ".nfs0001", ".directory"),
    *("0001 (conflicted copy).json", "0001 (somebody's conflicted copy 2026-01-02).png", "0001.json~", "image.png~"),
)


def plant(top: Path) -> int:
    """Put a file of each name into a folder and all folders below it. Returns the number of files."""
    folders = [top, *(path for path in top.rglob("*") if path.is_dir())]
    for folder in folders:
        for name in NAMES:
            (folder / name).write_bytes(b"junk")
    return len(folders) * len(NAMES)
