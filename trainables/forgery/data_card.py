"""The data card of a forged set: the source of its photographs, how it was made, what it must not be used for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainables.code import references
from trainables.config.task_config import without_none

SOURCES = {
    "cifar10": "CIFAR-10 (A. Krizhevsky 2009), https://www.cs.toronto.edu/~kriz/cifar.html",
    "cifar100": "CIFAR-100 (A. Krizhevsky 2009), https://www.cs.toronto.edu/~kriz/cifar.html",
    "places365_val": "Places365-Standard, validation images (B. Zhou et al. 2017), http://places2.csail.mit.edu",
    "cub200": "Caltech-UCSD Birds-200-2011 (C. Wah et al. 2011), https://www.vision.caltech.edu/datasets/cub_200_2011",
    "oxford_pets": "Oxford-IIIT Pet (O. M. Parkhi et al. 2012), https://www.robots.ox.ac.uk/~vgg/data/pets",
    "folder": "a folder of the user: `{path}`",
}
_CIFAR = (
    "The authors state none, and the photographs were collected from the web without asking their owners. "
    "CIFAR is a subset of 80 Million Tiny Images, which its authors withdrew in 2020 because of derogatory labels, "
    "offensive images and biases (A. Birhane, V. U. Prabhu 2021). CIFAR does not use those labels, but its photographs "
    "are from that set."
)
LICENCES = {
    "cifar10": _CIFAR,
    "cifar100": _CIFAR + " Its classes include people (baby, boy, girl, man, woman).",
    "places365_val": "The authors give access for non-commercial research and education; the copyright of the "
    "photographs stays with their owners, and people may be seen in them. Read the terms at the address above: this "
    "card does not replace them.",
    "cub200": "The authors give access for non-commercial research and education; the photographs are from Flickr, and "
    "their copyright stays with their owners. Read the terms at the address above: this card does not replace them.",
    "oxford_pets": "CC BY-SA 4.0, by its authors; the copyright of the photographs stays with their owners. Read the "
    "terms at the address above: this card does not replace them.",
    "folder": "Unknown to inpaint-sweeps. Before sharing this set, find out the licence of the photographs and whether "
    "the people in them agreed, and write both here.",
}
NOT_FOR = (
    "Passing fakes off as photographs, or training inpainters to evade detectors.",
    "Decisions about people: whether a person's picture, document or evidence is genuine. A detector trained on this "
    "set knows only the inpainters, holes and encoders listed above; expect false alarms on other cameras, formats and "
    "edits.",
    "Claims about other inpainters, image sizes or real-life manipulations without a test on them.",
    "Sharing it without this card, or against the licences above.",
)
PAIRS = 20
"""Number of near duplicates, and of skipped photographs, that the card lists."""


def card_text(resolved: Mapping[str, Any], done: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]) -> str:
    """The card as Markdown.

    done: the content of `done.json`.
    pairs: near duplicates, the nearest first.
    """
    given, size = resolved["images"], done["size"]
    theirs = references.parse(given["name"])
    name = "folder" if theirs else given["name"]
    made = f"the data set {theirs.label} of the user's code {theirs.hash}" if theirs else ""
    source = made or SOURCES[name].format(path=given["path"])
    parts = [
        f"# Forged images {done['id']}\n",
        "Photographs and inpainted versions of them, for training and testing detectors of inpainted regions.\n",
        f"## Sources\n\n- Photographs: {source}\n- Licence: {LICENCES[name]}\n- Inpainters: {_inpainters(done)}\n",
        f"## How it was made\n\n{_how(resolved)}\n\nImages are {size}x{size} px. The whole forge block:\n\n```json\n"
        f"{json.dumps(without_none(resolved), indent=1, sort_keys=True)}\n```\n",
        f"## Counts\n\n{_counts(done)}\n\nAll images of one photograph are in one split. {_skipped(done)}\n",
        f"## Near duplicates across splits\n\n{_pairs(done, pairs)}\n",
        "## What it must not be used for\n\n" + "\n".join(f"- {line}" for line in NOT_FOR) + "\n",
        f"## Files\n\n`shards/*.tar` (WebDataset's layout: KEY.png, jpg or webp; KEY.mask.png; KEY.json), `index.json` "
        f"(every image's row), `done.json`. Fingerprint: {done['fingerprint']}\n",
    ]
    return "\n".join(parts)


def _inpainters(done: Mapping[str, Any]) -> str:
    return ", ".join(f"{label} ({count:,} images)" for label, count in done["inpainters"].items())


def _how(resolved: Mapping[str, Any]) -> str:
    lines = [
        f"Holes: mask family `{resolved['mask']['name']}`, mask 1 = hole.",
        "Only pixels of the hole differ from the photograph before encoding."
        if resolved["composite"] == "hole"
        else "A fake is the inpainter's whole output: all of its pixels carry the inpainter's traces.",
        "Each photograph gives a real image and a fake."
        if resolved["reals"] == "paired"
        else "Of two photographs one gives a real image, the other a fake.",
    ]
    if resolved.get("feather_side") == "outside":
        lines.append(f"The hole includes a ring of {resolved['feather']:g} px, in which the fill is blended.")
    if resolved.get("pasted_by"):
        lines.append("Pasted pixels were resized and back, and saved by the encoder.")
    if resolved.get("controls"):
        lines.append("A control takes the place of the photograph's real image.")
    if resolved["fake_encoder"] is None:
        lines.append(f"Real and fake images are saved with the same encoder, {resolved['encoder']['name']}.")
    else:
        lines.append(
            f"**Fakes are saved as {resolved['fake_encoder']['name']}, all other images as "
            f"{resolved['encoder']['name']}: the format reveals the label. Use this set only to study that shortcut.**"
        )
    return " ".join(lines)


def _counts(done: Mapping[str, Any]) -> str:
    kinds = sorted({kind for counts in done["counts"].values() for kind in counts})
    lines = [f"| split | photographs | {' | '.join(kinds)} |", "| --- " * (2 + len(kinds)) + "|"]
    for split, counts in done["counts"].items():
        cells = [f"{counts.get(kind, 0):,}" for kind in kinds]
        lines.append(f"| {split} | {done['photographs'][split]:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _skipped(done: Mapping[str, Any]) -> str:
    skipped = done["skipped"]
    if not skipped:
        return "No photograph was left out."
    names = "; ".join(f"`{each['source']}`: {each['why']}" for each in skipped[:PAIRS])
    return f"{len(skipped):,} photographs were left out: {names}{'; ...' if len(skipped) > PAIRS else ''}."


def _pairs(done: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]) -> str:
    near = done["near_duplicates"]
    summary = (
        f"{near['pairs']:,} pairs of photographs in different splits have perceptual hashes (imagehash's `phash`, 64 "
        f"bits) that differ in at most {near['distance']} bits; `index.json` lists them. They were not removed."
    )
    lines = [
        f"- {pair['distance']} bits: `{pair['sources'][0]}` ({pair['splits'][0]}), "
        f"`{pair['sources'][1]}` ({pair['splits'][1]})"
        for pair in pairs[:PAIRS]
    ]
    return "\n".join([summary, "", *lines]) if lines else summary
