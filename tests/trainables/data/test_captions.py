"""Captions stay with their images, words become tokens, padding has no effect, and wrong captions are refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables import schema
from trainables.config.sections import DataConfig
from trainables.data import captions, images
from trainables.errors import TrialError
from trainables.inpaint.dataset import load as load_data
from trainables.match import text_encoder
from trainables.training.session import Machine

TEMPLATE = "a photo of a {class}"
KODAK = {"name": "folder", "path": "photos", "size": 16}


def section(**options: Any) -> dict[str, Any]:
    return DataConfig.model_validate(options).model_dump()


def load(root: Path, **options: Any) -> captions.Captions:
    found = captions.load(section(**options), root)
    assert found is not None
    return found


def said(found: captions.Captions, split: str, place: int, number: int = 0) -> str:
    tokens = found.tokens[split][place, number].tolist()
    return " ".join((*" ?", *found.vocabulary.words)[token] for token in tokens if token)


@pytest.fixture
def photos(data_root: Path, tmp_path: Path) -> Path:
    """A data root with the Kodak photographs, and a captions file with two lines for each image."""
    (tmp_path / "photos").symlink_to(data_root / "kodak24")
    names = sorted(path.name for path in (data_root / "kodak24").glob("*.png"))
    lines = [f"{name}\tthe photograph {name[:-4]}\n{name}\tagain {name[:-4]}" for name in names]
    (tmp_path / "captions.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def refused(root: Path, **options: Any) -> TrialError:
    with pytest.raises(TrialError) as caught:
        captions.check(section(**options), root)
    error = caught.value
    assert all((error.given, error.why, error.allowed, error.fix))
    return error


# --- with their images ------------------------------------------------------------------------------------------------


def test_cifars_captions_name_what_was_published_for_the_very_pixels(data_root: Path) -> None:
    options = {"name": "cifar10", "train": 200, "val": 50, "test": 50}
    found = load(data_root, **options, captions={"template": TEMPLATE})
    pixels = images.load(section(**options), data_root)
    folder = data_root / "cifar-10-batches-py"
    names = pickle.loads((folder / "batches.meta").read_bytes())["label_names"]
    batch = pickle.loads((folder / "test_batch").read_bytes(), encoding="latin1")
    label_of = {bytes(row): label for row, label in zip(batch["data"], batch["labels"], strict=True)}
    for place in range(50):
        label = label_of[pixels.test[place].numpy().tobytes()]
        assert said(found, "test", place) == f"a photo of a {names[label]}"
    assert set(found.vocabulary.words) == {"a", "photo", "of", *names}


def test_a_subset_has_the_captions_of_its_images(photos: Path) -> None:
    whole = load(photos, **KODAK, captions={"file": "captions.txt"})
    few = load(photos, **KODAK, train=5, captions={"file": "captions.txt"})
    assert [said(few, "train", i) for i in range(5)] == [said(whole, "train", i) for i in range(5)]
    names = images.image_counts(DataConfig.model_validate(KODAK), photos)["train"][0][0].names("train", 0, 5)
    assert [said(few, "train", i, 1) for i in range(5)] == [f"again {name[:-4]}" for name in names]


def test_a_mixture_has_the_captions_of_both(photos: Path, data_root: Path) -> None:
    (photos / "cifar-10-batches-py").symlink_to(data_root / "cifar-10-batches-py")
    config = {"name": "cifar10", "train": 8, "val": 2, "test": 2}
    source = images.image_counts(DataConfig.model_validate(config), photos)
    lines = [
        f"{name}\tcifar {name}" for split in source for name in source[split][0][0].names(split, 0, source[split][0][1])
    ]
    (photos / "both.txt").write_text((photos / "captions.txt").read_text() + "\n".join(lines))
    parts = [{"name": "own"}, {"name": "folder", "path": "photos", "crops": 2}]
    found = load(photos, **config, train_on=parts, captions={"file": "both.txt"})
    assert [said(found, "train", i).split()[0] for i in range(8)] == ["cifar"] * 4 + ["the"] * 4


def test_an_epoch_draws_one_of_several_captions_and_evaluation_takes_the_first(photos: Path) -> None:
    found = load(photos, **KODAK, captions={"file": "captions.txt"})
    index = torch.arange(6)
    first, second = (found.of("train", index, torch.full((24,), drawn)) for drawn in (0.49, 0.5))
    assert torch.equal(first, found.tokens["train"][:6, 0])
    assert torch.equal(second, found.tokens["train"][:6, 1])
    assert torch.equal(found.of("test", index[:2]), found.tokens["test"][:2, 0])


def test_shuffled_captions_are_those_of_other_images_and_no_text_is_empty(photos: Path) -> None:
    right, shuffled, none = (
        load(photos, **KODAK, captions={"file": "captions.txt", "text": text_})
        for text_ in ("right", "shuffled", "none")
    )
    n = len(right.counts["train"])
    assert {said(right, "train", i) for i in range(n)} == {said(shuffled, "train", i) for i in range(n)}
    assert all(said(right, "train", i) != said(shuffled, "train", i) for i in range(n))
    assert torch.equal(right.of("train", torch.arange(n), wrong=True), shuffled.of("train", torch.arange(n)))
    assert none.tokens["test"].sum() == 0
    assert right.vocabulary.words == shuffled.vocabulary.words == none.vocabulary.words
    assert len({found.fingerprint for found in (right, shuffled, none)}) == 3


def test_a_caption_folder_as_cub_publishes_it(data_root: Path, tmp_path: Path) -> None:
    for number, source in enumerate(sorted((data_root / "kodak24").glob("*.png"))):
        folder = tmp_path / "birds" / f"{number % 2 + 1:03}.A_bird"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / source.name).symlink_to(source)
        there = tmp_path / "text" / folder.name
        there.mkdir(parents=True, exist_ok=True)
        (there / f"{source.stem}.txt").write_text("".join(f"{source.stem} line {i}\n" for i in range(10)))
    found = load(tmp_path, name="folder", path="birds", size=16, captions={"folder": "text"})
    assert found.tokens["train"].shape[1] == 10
    assert said(found, "train", 0, 9).endswith("line 9")
    named = load(tmp_path, name="folder", path="birds", size=16, captions={"template": "this is {breed}."})
    assert said(named, "val", 0) == "this is a bird"


def test_identity_and_pixels_do_not_know_of_captions_that_are_not_there(data_root: Path) -> None:
    base = {"mask": {"name": "lines"}, "model": {"name": "vanilla_autoencoder"}}
    plain = schema.resolve("inpaint", {**base, "data": {"name": "cifar10", "train": 8, "val": 4, "test": 4}})
    assert "captions" not in schema.identity("inpaint", plain, 0)["data"]
    told = {**plain, "data": {**plain["data"], "captions": {"template": TEMPLATE}}}
    one, two = (load_data(schema.resolve("inpaint", config), Machine(data_root=data_root)) for config in (plain, told))
    assert one.images.fingerprint == two.images.fingerprint == one.fingerprint != two.fingerprint
    assert one.text("train", torch.arange(2)) is None


# --- what is refused --------------------------------------------------------------------------------------------------


def test_an_image_without_caption(photos: Path) -> None:
    lines = (photos / "captions.txt").read_text().splitlines()
    (photos / "captions.txt").write_text("\n".join(lines[2:]))
    error = refused(photos, **KODAK, captions={"file": "captions.txt"})
    assert "1 of" in error.why
    assert "kodim01.png" in error.why


def test_lines_of_images_that_are_not_there(photos: Path) -> None:
    with (photos / "captions.txt").open("a") as file:
        file.write("kodim99.png\tnothing\n")
    error = refused(photos, **KODAK, captions={"file": "captions.txt"})
    assert "kodim99.png" in error.why
    assert "kodim01.png" in error.allowed


@pytest.mark.parametrize(
    ("content", "where"), [(b"kodim01.png a b\n", "line 1"), (b"\n\tx\n", "line 2"), (b"\xff", "")]
)
def test_a_captions_file_that_is_none(photos: Path, content: bytes, where: str) -> None:
    (photos / "captions.txt").write_bytes(content)
    assert where in refused(photos, **KODAK, captions={"file": "captions.txt"}).given


def test_a_template_where_nothing_says_what_an_image_shows(photos: Path) -> None:
    assert "not in a class folder" in refused(photos, **KODAK, captions={"template": TEMPLATE}).why


@pytest.mark.parametrize("given", [{}, {"template": "a photo"}, {"template": TEMPLATE, "file": "x"}, {"text": "none"}])
def test_a_section_that_does_not_say_where_captions_come_from(given: dict[str, str]) -> None:
    base = {"mask": {"name": "lines"}, "model": {"name": "vanilla_autoencoder"}}
    with pytest.raises(TrialError) as caught:
        schema.resolve("inpaint", {**base, "data": {"name": "cifar10", "captions": given}})
    assert all((caught.value.given, caught.value.why, caught.value.allowed, caught.value.fix))


# --- words ------------------------------------------------------------------------------------------------------------


def test_words_are_cut_and_lower_case() -> None:
    assert text_encoder.words_of("A photo, of a Black-footed albatross!") == [
        "a",
        "photo",
        "of",
        "a",
        "black",
        "footed",
        "albatross",
    ]
    assert len(text_encoder.words_of("word " * 10_000)) == text_encoder.WORDS
    assert text_encoder.words_of(" \t") == []


def test_a_vocabulary_does_not_depend_on_order_and_keeps_through_its_bytes() -> None:
    one, two = text_encoder.Vocabulary(["b", "a", "ä"]), text_encoder.Vocabulary(["ä", "a", "b", "a"])
    assert one.words == two.words == text_encoder.Vocabulary.unpacked(one.packed()).words
    assert text_encoder.Vocabulary.unpacked(text_encoder.Vocabulary().packed()).words == ()
    assert one.tokens(["a b", "z", ""]).tolist() == [[2, 3], [text_encoder.UNKNOWN, 0], [0, 0]]


def encoder(kind: str = "lstm") -> text_encoder.TextEncoder:
    torch.manual_seed(0)
    made = text_encoder.TextEncoder(8, 6, kind)  # type: ignore[arg-type]
    made.set_vocabulary(text_encoder.Vocabulary(["a", "photo", "of", "the", "small", "bird"]))
    return made.eval()


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_encoder_reads_as_torchs_bidirectional_network_does(kind: str) -> None:
    ours = encoder(kind)
    theirs = (torch.nn.LSTM if kind == "lstm" else torch.nn.GRU)(6, 4, batch_first=True, bidirectional=True)
    state = {**ours.onwards.state_dict()}
    state.update({f"{name}_reverse": value for name, value in ours.backwards.state_dict().items()})
    theirs.load_state_dict(state)
    tokens = ours.vocabulary.tokens(["a small bird of the photo", "bird", "photo the"])
    lengths = (tokens > 0).sum(1)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        ours.embedding(tokens.long()), lengths, batch_first=True, enforce_sorted=False
    )
    out, last = theirs(packed)
    hidden = last[0] if kind == "lstm" else last
    expected = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True)[0]
    words, sentence, there = ours(tokens)
    torch.testing.assert_close(words.transpose(1, 2), expected)
    torch.testing.assert_close(sentence, torch.cat([hidden[0], hidden[1]], 1))
    assert torch.equal(there.sum(1), lengths)


def test_padding_company_and_emptiness_change_nothing() -> None:
    ours = encoder()
    tokens = ours.vocabulary.tokens(["a small bird", "", "unseen words"])
    words, sentence, _ = ours(tokens)
    longer, again, _ = ours(torch.cat([tokens, torch.zeros(3, 5, dtype=torch.int32)], 1))
    torch.testing.assert_close(longer[..., :3], words)
    torch.testing.assert_close(again, sentence)
    assert longer[..., 3:].abs().sum() == 0
    assert sentence[1].abs().sum() == words[1].abs().sum() == 0
    turned = ours(tokens.flip(0))[1]
    torch.testing.assert_close(turned.flip(0), sentence)
    assert ours(ours.vocabulary.tokens(["", ""]))[1].isfinite().all()


def test_weights_bring_their_words() -> None:
    ours, empty = encoder(), text_encoder.TextEncoder(8, 6)
    parameter = empty.embedding.weight
    empty.load_state_dict(ours.state_dict())
    assert empty.vocabulary.words == ours.vocabulary.words
    assert empty.embedding.weight is parameter
    tokens = ours.vocabulary.tokens(["a small bird"])
    assert torch.equal(empty.eval()(tokens)[1], ours(tokens)[1])
