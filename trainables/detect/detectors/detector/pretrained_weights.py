"""Pretrained weights of torchvision's classifiers, downloaded or from a file below the data root."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from trainables.data.image_files import path_below
from trainables.errors import TrialError
from trainables.inpaint.perceptual_features import read_weights

AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
"""Prefixes of auxiliary classifiers, which are used only to train a classifier."""
SHOWN = 6
"""Maximum number of layers listed in an error."""


def load(trunk: nn.Module, backbone: str, weights: str, root: Path | None) -> None:
    """Load weights into a classifier without its last layers, whose first layer may have additional input channels.

    weights: `imagenet` or a file. Raises TrialError if they cannot be read, or naming the layers that do not fit.
    """
    state = _downloaded(backbone) if weights == "imagenet" else _read(backbone, weights, root)
    state = {name: value for name, value in state.items() if not name.startswith(AUXILIARY)}
    own = trunk.state_dict()
    removed = tuple(f"{name}." for name, layer in trunk.named_modules() if isinstance(layer, nn.Identity))
    state = {name: value for name, value in state.items() if not name.startswith(removed)}
    first = next((name for name in own if own[name].dim() == 4), "")
    if first in state and own[first].shape[1] == 2 * state[first].shape[1]:
        state[first] = torch.cat([state[first], own[first][:, state[first].shape[1] :].to(state[first])], 1)
    _check(backbone, weights, state, own)
    trunk.load_state_dict(state, strict=False)
    if weights == "imagenet" and hasattr(trunk, "transform_input"):
        trunk.transform_input = True  # type: ignore[assignment] # Inception's weights expect another normalisation


def _check(backbone: str, weights: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    counted = [name for name in own if not name.endswith("num_batches_tracked")]
    wrong = [f"{name} is missing" for name in counted if name not in state]
    wrong += [f"{name} is not in the network" for name in state if name not in own]
    wrong += [
        f"{name} is {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in counted
        if name in state and state[name].shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise TrialError(
            f"model.weights: {weights!r} with backbone {backbone}",
            f"layers do not fit: {'; '.join(wrong[:SHOWN])}{more}",
            f"weights of torchvision's {backbone}, with its layer names",
            "set `model.backbone` to the network that the weights belong to, or name other weights",
            "model.weights",
        )


def _read(backbone: str, weights: str, root: Path | None) -> dict[str, Tensor]:
    file = path_below(root, weights, "model.weights")
    try:
        return read_weights(file)
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError, EOFError) as error:
        raise _unreadable(backbone, weights, error) from error
    except (pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise _unreadable(backbone, weights, error) from error


def _unreadable(backbone: str, weights: str, error: Exception) -> TrialError:
    return TrialError(
        f"model.weights: {weights!r}",
        f"the file cannot be read: {str(error)[:200]}",
        f"a .pth or .npz file with weights of torchvision's {backbone}, below the data root",
        "check the file, or set `model.weights: none`",
        "model.weights",
    )


def _downloaded(backbone: str) -> dict[str, Tensor]:
    """torchvision's first ImageNet weights, which the documents used, from torch's cache or downloaded."""
    from torchvision.models import get_model_weights

    choices = get_model_weights(backbone)
    if not len(choices):
        raise TrialError(
            f"model.weights: imagenet with backbone {backbone}",
            "torchvision has no weights for this backbone",
            "none, or a file below the data root",
            "set `model.weights: none`",
            "model.weights",
        )
    chosen = choices.IMAGENET1K_V1 if "IMAGENET1K_V1" in choices.__members__ else choices.DEFAULT
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        state: dict[str, Tensor] = chosen.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError for a wrong hash
        raise TrialError(
            f"model.weights: imagenet with backbone {backbone}",
            f"the download of {chosen.url} failed: {str(error)[:200]}",
            f"weights that can be downloaded or are in {cache}; a .pth or .npz file below the data root; or none",
            f"without network, copy the file into {cache}, or below the data root and name it under `model.weights`",
            "model.weights",
        ) from error
    return state
