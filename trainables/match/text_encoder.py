"""Tokenisation of captions, and a recurrent text encoder.

Words are runs of letters, digits and underscores in lower case; a caption is truncated after WORDS words. The
vocabulary consists of all words of the training captions in alphabetical order, so it is a function of the data. It is
saved with the weights, so a trained network reads new captions without its training data. Words outside the vocabulary
become UNKNOWN; a caption may be empty.

Source of the encoder: Xu et al. 2018, "AttnGAN", as used in TDANet (MODELS.md section 2.1). Here padding is masked for
each image; their code tiles a mask in an order that differs from that of its scores. They initialise the embedding
within 0.1 of 0 and pretrain it; here it is initialised from the standard normal distribution, because a network trained
jointly with it uses the captions earlier (one experiment with one seed: after 40 steps, instead of not within 80).

Legend: b captions, t words of the longest one, c = `features`. Token 0 is padding, which follows the words.
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
"""Maximum number of words of a caption, as in TDANet; further words are ignored."""
PADDING, UNKNOWN = 0, 1
_FIRST = 2
"""Token of the first word of the vocabulary."""
_WORD = re.compile(r"\w+")


def words_of(caption: str) -> list[str]:
    """The words of a caption, at most WORDS."""
    words = []
    for match in _WORD.finditer(caption):
        words.append(match[0].lower())
        if len(words) == WORDS:
            break
    return words


class Vocabulary:
    """The words that have their own token."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words = tuple(sorted(set(words)))

    def __len__(self) -> int:
        """Number of tokens, including padding and UNKNOWN."""
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
        """Words encoded as bytes, for a checkpoint."""
        return torch.frombuffer(bytearray("\n".join(self.words).encode() or b"\n"), dtype=torch.uint8)

    @classmethod
    def unpacked(cls, packed: Tensor) -> Vocabulary:
        """The inverse of `packed`."""
        return cls(bytes(packed.cpu().tolist()).decode().split())


class TextEncoder(nn.Module):
    """An embedding and a bidirectional recurrent network: features of each word, and of the caption.

    The vocabulary is part of the state: loading weights replaces it.
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

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Set the vocabulary, and reinitialise the embedding."""
        self._resize(vocabulary.packed(), len(vocabulary))
        nn.init.normal_(self.embedding.weight)

    def _resize(self, packed: Tensor, tokens: int) -> None:
        weight = self.embedding.weight
        self.packed = packed.to(weight.device)
        self.embedding.num_embeddings = tokens
        weight.data = weight.data.new_empty(
            tokens, weight.shape[1]
        )  # keeps the parameter object: an optimiser may reference it

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        packed, weight = state_dict.get(f"{prefix}packed"), state_dict.get(f"{prefix}embedding.weight")
        if packed is not None and weight is not None and not torch.equal(packed.cpu(), self.packed.cpu()):
            self._resize(packed, len(weight))
        super()._load_from_state_dict(state_dict, prefix, *others)

    def forward(self, tokens_bt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """words_bct and sentence_bc in float32, zero for padding and empty captions; there_bt: which tokens are words.

        The backward direction starts at the last word of each caption: words are reversed, padding stays in place.
        """
        there_bt = tokens_bt != PADDING
        length_b1 = there_bt.sum(1, keepdim=True)
        place_bt = torch.arange(tokens_bt.shape[1], device=tokens_bt.device).expand_as(tokens_bt)
        reversed_bt = torch.where(there_bt, length_b1 - 1 - place_bt, place_bt)
        with as_given(tokens_bt.device):
            embedded_bte = self.dropout(self.embedding(tokens_bt.long()))
            first_bth = full(self.onwards(embedded_bte)[0])
            second_bth = full(self.backwards(_picked(embedded_bte, reversed_bt))[0])
        last_b1 = (length_b1 - 1).clamp(min=0)
        sentence_bc = torch.cat([_picked(first_bth, last_b1), _picked(second_bth, last_b1)], 2).squeeze(1)
        words_btc = torch.cat([first_bth, _picked(second_bth, reversed_bt)], 2) * there_bt.unsqueeze(2)
        return words_btc.transpose(1, 2), sentence_bc * (length_b1 > 0), there_bt


def _picked(x_btc: Tensor, place_bt: Tensor) -> Tensor:
    """Features at the given positions of each caption."""
    return x_btc.gather(1, place_bt.unsqueeze(2).expand(-1, -1, x_btc.shape[2]))
