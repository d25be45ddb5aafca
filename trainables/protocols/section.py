"""The protocol in the configuration of a trial: what rates its fills after the last epoch; imports no torch.

A sweep file names a protocol at its top level. The configuration of each trial has its whole evaluation, so that a
machine without the file rates as the file says; the identity of a trial has its hash and its folders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, model_validator

from trainables.config.data_paths import DataPath
from trainables.config.messages import below
from trainables.config.model_sections import ModelConfig
from trainables.config.sections import StrictConfig
from trainables.errors import TrialError
from trainables.protocols.protocol import (
    Protocol,
    check_masks_folder,
    evaluation_hash,
    of_evaluation,
    resolve,
)

IMAGES, MASKS = "protocol.images", "protocol.masks"
"""The keys of the folders, for errors."""


class ProtocolSection(StrictConfig):
    """A protocol, and the folders that it is used on."""

    name: str = Field(description="name of the protocol")
    hash: str = Field(description="its hash")
    images: str | None = Field(
        None, min_length=1, description="folder of photographs below the data root; null: the test images"
    )
    masks: str | None = Field(
        None, min_length=1, description="folder of the mask files below the data root, if it has some"
    )
    published_images: int | None = Field(None, description="number of rated images of the published tables")
    evaluation: dict[str, Any] = Field(description="what decides the numbers, with every default")

    @model_validator(mode="before")
    @classmethod
    def _with_evaluation(cls, given: Any) -> Any:
        """Put the evaluation in the place of `content`, the keys of a protocol's file."""
        if not isinstance(given, dict) or "content" not in given:
            return given
        content = resolve(given["content"])
        if not isinstance(content, Protocol):
            raise TrialError(
                str(given.get("name")),
                "it is a protocol of detections, and this task fills images",
                "a protocol of inpainting",
                "sweeps protocols lists all of them",
            )
        evaluation, expected = content.evaluation(), given.get("hash")
        found = evaluation_hash(evaluation)
        if expected not in (None, found):
            raise TrialError(
                f"hash: {expected}",
                f"the protocol {given.get('name')} has the hash {found}: it was edited, or is that of another version",
                f"{found}; or no `hash`, which takes the protocol as it is",
                "restore the protocol; numbers of one hash do not compare with those of the other",
                "hash",
            )
        known = {key: item for key, item in given.items() if key not in ("content", "hash")}
        return {**known, "hash": found, "published_images": content.published_images, "evaluation": evaluation}

    @model_validator(mode="after")
    def _hash_fits(self) -> ProtocolSection:
        of_evaluation(self.evaluation)
        if evaluation_hash(self.evaluation) != self.hash:
            raise ValueError(f"its hash is not {self.hash}")
        return self


def protocol_of(section: Mapping[str, Any]) -> Protocol:
    """The protocol of a resolved section."""
    return of_evaluation(section["evaluation"])


def identity(section: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a resolved section that determines the numbers."""
    return {key: section[key] for key in ("hash", "images", "masks") if section.get(key) is not None}


def data_paths(section: Mapping[str, Any] | None) -> Iterator[DataPath]:
    """The folders that a resolved section reads."""
    yield from (DataPath(section[key], images=True) for key in ("images", "masks") if section and section.get(key))


def check(section: Mapping[str, Any], data_size: int, model: ModelConfig) -> None:
    """Raise TrialError if the fills of a model cannot be rated by a resolved section. data_size: of its images, px."""
    protocol, name = protocol_of(section), section["name"]
    size = protocol.images.size
    needs_images = section.get("images") is None and size != data_size
    folders = {
        "images": "FOLDER" if needs_images else section.get("images"),
        "masks": "FOLDER" if protocol.masks["name"] == "files" else None,
    }
    named = {"name": name, **{key: section.get(key) or folder for key, folder in folders.items() if folder}}
    fix = f"protocol: {{{', '.join(f'{key}: {value}' for key, value in named.items())}}}"
    if protocol.masks["name"] == "files" and section.get("masks") is None:
        raise TrialError(
            f"protocol {name} without `masks`",
            "the masks of this protocol are published files",
            f"the folder of these files below the data root: {protocol.code or 'those of its publication'}",
            fix,
            "protocol.masks",
        )
    if needs_images:
        raise TrialError(
            f"protocol {name} on the test images of the sweep",
            f"it rates squares of {size} px, and these images have {data_size} px",
            f"a folder of photographs below the data root; or data.size: {size}",
            fix,
            "protocol.images",
        )
    if model.takes_text:
        raise TrialError(
            f"protocol {name} with a model that reads captions",
            "the images of a protocol have no captions",
            "models without text",
            "leave `protocol` out, or choose another model",
            "protocol",
        )
    check_masks_folder(protocol, section.get("masks"), MASKS)
    mask = protocol.masks if protocol.masks["name"] == "centre" else {"name": f"of the protocol {name}"}
    try:
        model.check_size(size)
        model.check(mask, size)
    except TrialError as error:
        inside = below("", error)
        raise TrialError(
            f"protocol {name}, squares of {size} px: {inside.given}",
            inside.why,
            f"{inside.allowed}; or a protocol whose squares and masks the model takes",
            "choose another protocol, or another model",
            "protocol",
        ) from error
