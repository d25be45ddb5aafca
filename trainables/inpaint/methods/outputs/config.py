"""Options of the reader of filled images."""

from __future__ import annotations

from typing import ClassVar

from trainables.data.image_files import FolderConfig


class Config(FolderConfig):
    """The folder of the images."""

    trains: ClassVar[bool] = False
    splits: ClassVar[tuple[str, ...]] = ("test",)
