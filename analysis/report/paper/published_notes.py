"""Notes on published values, merged: what holds for all of them is one sentence, the rest are numbered footnotes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from analysis import wording
from analysis.claims.published import PublishedFigure

MOST = 3
"""Largest number of footnotes of one entry; further ones are joined."""

Place = tuple[str, str]
"""(arm, metric)"""


def full_notes(figure: PublishedFigure) -> list[str]:
    """All that is said of a published value, as sentences that need no table."""
    return [_sentence(note) for note in [*figure.notes, *_conversion(figure), *_epoch(figure), *_split(figure)]]


class PublishedNotes:
    """The notes on the published values of a table."""

    def __init__(self, figures: Mapping[Place, list[PublishedFigure]]) -> None:
        """figures: the values by place; places without values are ignored."""
        printed = {place: values for place, values in figures.items() if values}
        by_place = {place: list(dict.fromkeys(_parts(values))) for place, values in printed.items()}
        counts = dict.fromkeys(note for notes in by_place.values() for note in notes)
        shared = [note for note in counts if all(note in notes for notes in by_place.values())]
        self.sentences = [f"Published figures: {_sentence('; '.join(shared))}"] if shared else []
        """What holds for all published values of the table."""
        self.sentences += _epochs(printed)
        self.footnotes: list[str] = []
        """Numbered from 1."""
        self.numbers: dict[Place, tuple[int, ...]] = {}
        """Numbers of the footnotes of each place."""
        for place, notes in by_place.items():
            own = [note for note in notes if note not in shared]
            kept = own if len(own) <= MOST else [*own[: MOST - 1], "; ".join(own[MOST - 1 :])]
            self.numbers[place] = tuple(self._number(_sentence(note)) for note in kept)

    def _number(self, note: str) -> int:
        if note not in self.footnotes:
            self.footnotes.append(note)
        return self.footnotes.index(note) + 1


def _parts(figures: Iterable[PublishedFigure]) -> Iterable[str]:
    """Notes in parts that other values may share; without epochs."""
    for figure in figures:
        for note in (*figure.notes, *_conversion(figure), *_split(figure)):
            yield from note.split("; ")


def _epochs(figures: Mapping[Place, list[PublishedFigure]]) -> list[str]:
    """A sentence on the epochs after which the values were published; none if the document does not state them."""
    arms: dict[int, dict[str, None]] = {}
    for (arm, _), values in figures.items():
        for figure in values:
            if figure.epoch is not None:
                arms.setdefault(figure.epoch, {})[arm] = None
    if not arms:
        return []
    stated = {arm for of_epoch in arms.values() for arm in of_epoch}
    if len(arms) == 1 and stated == {arm for arm, _ in figures}:
        return [f"Published after epoch {next(iter(arms))}."]
    parts = [f"epoch {epoch} ({wording.listing(map(wording.quoted, names))})" for epoch, names in sorted(arms.items())]
    return [f"Published after {wording.listing(parts)}."]


def _conversion(figure: PublishedFigure) -> list[str]:
    return [figure.conversion] if figure.conversion else []


def _epoch(figure: PublishedFigure) -> list[str]:
    return [] if figure.epoch is None else [f"published after epoch {figure.epoch}"]


def _split(figure: PublishedFigure) -> list[str]:
    return ["the document does not state the split"] if figure.split == "unlabelled" else []


def _sentence(note: str) -> str:
    return note[0].upper() + note[1:] + "."
