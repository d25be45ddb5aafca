"""The named evaluations that there are, and the images and masks of one as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.protocols.protocol import AnyProtocol


@dataclass(frozen=True)
class NamedProtocol:
    """A protocol with its name and hash."""

    name: str
    hash: str
    """16 hex digits; it changes with whatever decides the numbers, and with nothing else."""
    content: AnyProtocol


def find_protocol(given: str | Path) -> NamedProtocol:
    """A protocol by its name, or by the path of a YAML file.

    SweepError for an unknown name, TrialError for a file with a wrong key.
    """
    from sweeps.protocols import files, identity
    from trainables.protocols.protocol import resolve

    name, value = files.read(given)
    content = resolve(value)
    return NamedProtocol(name, identity.evaluation_hash(content.evaluation()), content)


def list_protocols() -> list[NamedProtocol]:
    """All protocols that come with the package."""
    from sweeps.protocols import files

    return [find_protocol(name) for name in files.names()]


def export_protocol(
    given: str | Path, truth: str | Path, out: str | Path, *, masks: str | Path | None = None
) -> tuple[NamedProtocol, int]:
    """Write the images of a protocol to `out/images`, with black holes to `out/damaged`, their masks to `out/masks`.

    given: its name or file. truth: folder of photographs. masks: folder of the mask files, if the protocol has some.
    Returns the protocol and the number of images. SweepError or TrialError for files that cannot be used.
    """
    from sweeps.errors import SweepError
    from trainables.protocols import exported
    from trainables.protocols.masked_images import Photographs
    from trainables.protocols.protocol import Protocol

    named, folder = find_protocol(given), Path(out)
    if not isinstance(named.content, Protocol):
        why, allowed = "it rates detections, which need no images of a protocol", "a protocol of inpainting"
        raise SweepError(f"protocol {named.name}", why, allowed, "sweeps protocols lists all of them")
    make_empty(folder)
    images = Photographs(named.content, Path(truth), None if masks is None else Path(masks))
    head = {"name": named.name, "hash": named.hash, "evaluation": named.content.evaluation()}
    return named, exported.write(images, folder, head)


def make_empty(folder: Path) -> None:
    """Create the folder of an export. SweepError if it has files."""
    from sweeps.api import arguments
    from sweeps.errors import SweepError

    arguments.make_folder(folder)
    if any(folder.iterdir()):
        fix = "name a new folder: fills of an older export do not fit other masks"
        raise SweepError(f"--out {folder}", "it is not empty", "an empty or new folder", fix)
