"""Captions as numbers, and a recurrent network that reads them.

Words are runs of letters and digits in lower case; a caption is cut after WORDS of them. The vocabulary is every word
of the training captions, in alphabetical order: a function of the data. It is kept with the weights, so a trained
network reads a new caption without the data it was trained on. A word that is not in it is UNKNOWN, a caption may be
empty.

Source of the encoder: Xu et al. 2018, "AttnGAN", as TDANet uses it (MODELS.md section 2.1). Padding is left out image
by image here; their code tiles one mask in another order than its scores. They draw the embedding within 0.1 of 0 and
train it before it is used; here it is drawn from the standard normal distribution, since a network that learns together
with it hears its captions sooner then (one try, one seed: after 40 steps against not in 80).

Legend: b captions, t words of the longest one, c = `features`. Token 0 is padding, which stands after the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainables.training.precision import as_given, full

WORDS = 128
"""Where captions are cut: TDANet's number. What follows is not read."""
PADDING, UNKNOWN = 0, 1
_FIRST = 2
"""The token of the vocabulary's first word."""
_WORD = re.compile(r"\w+")


def words_of(caption: str) -> list[str]:
    """The words of a caption, at most WORDS."""
    found = []
    for match in _WORD.finditer(caption):
        found.append(match[0].lower())
        if len(found) == WORDS:
            break
    return found


class Vocabulary:
    """The words that have a token of their own."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words = tuple(sorted(set(words)))

    def __len__(self) -> int:
        """How many tokens there are, padding and unknown words included."""
        return len(self.words) + _FIRST

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.words, _FIRST)}

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """tokens_bt of captions; t is 1 where all are empty."""
        read: dict[str, list[int]] = {}
        for caption in captions:
            if caption not in read:
                read[caption] = [self._tokens.get(word, UNKNOWN) for word in words_of(caption)]
        longest = max([1, *map(len, read.values())])
        rows = {caption: tokens + [PADDING] * (longest - len(tokens)) for caption, tokens in read.items()}
        return torch.tensor([rows[caption] for caption in captions], dtype=torch.int32).view(-1, longest)

    def packed(self) -> Tensor:
        """Its words as bytes, for a checkpoint."""
        return torch.frombuffer(bytearray("\n".join(self.words).encode() or b"\n"), dtype=torch.uint8)

    @classmethod
    def unpacked(cls, packed: Tensor) -> Vocabulary:
        """The inverse of `packed`."""
        return cls(bytes(packed.cpu().tolist()).decode().split())


class TextEncoder(nn.Module):
    """An embedding and a recurrent network in both directions: features of each word, and of the caption.

    Its vocabulary is part of its state: loading weights brings their words along, whatever it was built with.
    """

    packed: Tensor

    def __init__(self, features: int, embedding: int = 300, kind: Literal["lstm", "gru"] = "lstm") -> None:
        super().__init__()
        recurrent = nn.LSTM if kind == "lstm" else nn.GRU
        self.register_buffer("packed", Vocabulary().packed())
        self.embedding = nn.Embedding(len(Vocabulary()), embedding, padding_idx=PADDING)
        self.dropout = nn.Dropout(0.5)
        self.onwards = recurrent(embedding, features // 2, batch_first=True)
        self.backwards = recurrent(embedding, features // 2, batch_first=True)

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.unpacked(self.packed)

    def know(self, vocabulary: Vocabulary) -> None:
        """Take another vocabulary, with an embedding drawn anew."""
        self._resize(vocabulary.packed(), len(vocabulary))
        nn.init.normal_(self.embedding.weight)

    def _resize(self, packed: Tensor, tokens: int) -> None:
        weight = self.embedding.weight
        self.packed = packed.to(weight.device)
        self.embedding.num_embeddings = tokens
        weight.data = weight.data.new_empty(tokens, weight.shape[1])  # the same parameter: an optimiser may hold it

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        packed, weight = state_dict.get(f"{prefix}packed"), state_dict.get(f"{prefix}embedding.weight")
        if packed is not None and weight is not None and not torch.equal(packed.cpu(), self.packed.cpu()):
            self._resize(packed, len(weight))
        super()._load_from_state_dict(state_dict, prefix, *others)

    def forward(self, tokens_bt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """words_bct, sentence_bc and there_bt: which tokens are words. Zeros for padding and for an empty caption.

        In float32. The way back starts at each caption's own last word: its words are turned round, not its padding.
        """
        there_bt = tokens_bt != PADDING
        length_b1 = there_bt.sum(1, keepdim=True)
        place_bt = torch.arange(tokens_bt.shape[1], device=tokens_bt.device).expand_as(tokens_bt)
        turned_bt = torch.where(there_bt, length_b1 - 1 - place_bt, place_bt)
        with as_given(tokens_bt.device):
            embedded_bte = self.dropout(self.embedding(tokens_bt.long()))
            first_bth = full(self.onwards(embedded_bte)[0])
            second_bth = full(self.backwards(_picked(embedded_bte, turned_bt))[0])
        last_b1 = (length_b1 - 1).clamp(min=0)
        sentence_bc = torch.cat([_picked(first_bth, last_b1), _picked(second_bth, last_b1)], 2).squeeze(1)
        words_btc = torch.cat([first_bth, _picked(second_bth, turned_bt)], 2) * there_bt.unsqueeze(2)
        return words_btc.transpose(1, 2), sentence_bc * (length_b1 > 0), there_bt


def _picked(x_btc: Tensor, place_bt: Tensor) -> Tensor:
    """The features at these places of each caption."""
    return x_btc.gather(1, place_bt.unsqueeze(2).expand(-1, -1, x_btc.shape[2]))
