"""Trained networks on the user's images: every mode and orientation, errors, and exported files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features
from torch import Tensor

from trainables import schema
from trainables.detect.calibration import Threshold
from trainables.errors import TrialError
from trainables.inference import predict, user_images
from trainables.match.text_encoder import Vocabulary
from trainables.training.loop import generator

INPAINT = {
    "data": {"name": "cifar10", "train": 8, "val": 4, "test": 4},
    "mask": {"name": "centre", "fraction": 0.25},
    "model": {"name": "vanilla_autoencoder", "width": 8},
}
FORGED = {"images": {"name": "cifar10", "size": 32}, "inpainters": [{"name": "telea"}]}
RESULT: dict[str, Any] = {
    "history": {"epoch": [1], "val/psnr_db": [20.5], "test/psnr_db": [None]},
    "facts": {"data_fingerprint": "abc"},
}

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def run(image: Image.Image, name: str = "image.png", **options: Any) -> Path:
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return run


def pattern(width: int = 40, height: int = 24) -> Image.Image:
    """A picture with four different corners."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) * 2], 2).astype(np.uint8))


def inpainter() -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    from trainables.training.networks import build_network

    config = {**schema.resolve("inpaint", INPAINT), "seed": 0}
    torch.manual_seed(0)
    return config, build_network(config["model"], 32).state_dict()


def detector(**model: Any) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    from trainables.training.networks import build_network

    given = {
        "data": {"forged": FORGED, "input_size": 64},
        "model": {"name": "detector", "backbone": "resnet18", **model},
    }
    config = {**schema.resolve("detect", given), "seed": 0}
    torch.manual_seed(0)
    return config, build_network(config["model"], 64).state_dict()


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_and_the_way_back(save: Save, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = save(pattern(), exif=exif)
    picture = user_images.read(file)
    with Image.open(file) as opened:
        upright = ImageOps.exif_transpose(opened)
    assert np.array_equal(picture.upright(), upright)
    assert np.array_equal(picture.back(picture.upright()), pattern())
    width, height = upright.size
    marked = np.zeros((height, width), dtype=np.uint8)
    marked[2:9, 3:13] = 1
    x1, y1, x2, y2 = picture.box_back((3 / width, 2 / height, 13 / width, 9 / height))
    stored = np.argwhere(np.asarray(picture.back(Image.fromarray(marked))))
    assert (*stored.min(0)[::-1], *(stored.max(0)[::-1] + 1)) == pytest.approx((x1, y1, x2, y2))
    with Image.open(io.BytesIO(picture.png(picture.stored))) as written:
        assert np.array_equal(ImageOps.exif_transpose(written), upright), "displayed like its original"


MODES: dict[str, tuple[Callable[[Image.Image], Image.Image], str, str]] = {
    "grey": (lambda image: image.convert("L"), "png", "L"),
    "1 bit": (lambda image: image.convert("1"), "png", "L"),
    "alpha": (lambda image: Image.merge("RGBA", [*image.split(), image.split()[0]]), "png", "RGBA"),
    "grey and alpha": (lambda image: Image.merge("LA", [image.split()[1], image.split()[0]]), "png", "LA"),
    "palette": (lambda image: image.quantize(16), "png", "RGB"),
    "palette, GIF": (lambda image: image.quantize(16), "gif", "RGB"),
    "16 bit": (lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "png", "I;16"),
    "CMYK": (lambda image: image.convert("CMYK"), "jpg", "RGB"),
    "CMYK, TIFF": (lambda image: image.convert("CMYK"), "tif", "RGB"),
    "YCbCr": (lambda image: image, "jpg", "RGB"),
}


@pytest.mark.parametrize("kind", MODES)
def test_every_mode_is_read_and_known_pixels_are_kept(save: Save, kind: str) -> None:
    make, suffix, mode = MODES[kind]
    picture = user_images.read(save(make(pattern()), f"image.{suffix}"))
    assert picture.stored.mode == mode
    assert picture.upright().mode == "RGB"
    hole = np.zeros((24, 40), dtype=bool)
    hole[4:10, 5:25] = True
    filled = picture.filled(Image.new("RGB", (40, 24), (200, 200, 200)), hole)
    before, after = np.asarray(picture.stored), np.asarray(filled)
    assert filled.mode == mode
    assert np.array_equal(before[~hole], after[~hole])
    inside = after[hole].reshape(hole.sum(), -1)
    assert (inside[:, 0] == (200 * 257 if mode == "I;16" else 200)).all()
    assert mode[-1] != "A" or (inside[:, -1] == 255).all(), "what is filled can be seen"
    with Image.open(io.BytesIO(picture.png(filled))) as written:
        assert np.array_equal(np.asarray(written), after)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header states this size."""
    target = io.BytesIO()
    Image.new("1", (8, 8)).save(target, format="PNG")
    data = target.getvalue()
    import zlib

    head = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + data[24:29]
    return data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:]


def half() -> bytes:
    target = io.BytesIO()
    pattern().save(target, format="JPEG")
    return target.getvalue()[:-200]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (bomb(10_000, 10_000), "10,000 x 10,000 pixels"),
        (bomb(60_000, 60_000), "decompression bomb"),
        (half(), "does not decode"),
        (b"no image", "does not decode"),
        (b"", "does not decode"),
    ],
    ids=["100 megapixels", "a bomb", "cut off", "text", "empty"],
)
def test_files_that_are_refused(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(TrialError, match=why) as told:
        user_images.read(tmp_path / "x.png")
    assert "x.png" in told.value.given


def test_exif_data_and_resolution_stay(save: Save) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x0132] = "a camera", 6, "2024:01:02 03:04:05"
    picture = user_images.read(save(pattern(), format="JPEG", exif=exif, dpi=(300, 300)))
    written = Image.open(io.BytesIO(picture.png(picture.stored)))
    assert {tag: written.getexif()[tag] for tag in (0x010F, 0x0112, 0x0132)} == dict(exif)
    assert [round(value) for value in written.info["dpi"]] == [300, 300]
    plain = Image.open(io.BytesIO(user_images.read(save(pattern())).png(pattern())))
    assert "dpi" not in plain.info
    assert not plain.getexif()


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_of_a_colour_stay(tmp_path: Path, channels: int, suffix: str) -> None:
    import cv2

    values = np.random.default_rng(1).integers(0, 2**16, (24, 40, channels)).astype(np.uint16)
    file, hole = tmp_path / f"deep.{suffix}", np.zeros((24, 40), dtype=bool)
    hole[4:10, 5:25] = True
    cv2.imwrite(str(file), values)
    picture = user_images.read(file)
    assert np.array_equal(np.asarray(picture.stored)[..., 0], np.round(values[..., 2] / 257))
    picture = replace(picture, exif=user_images._exif_of(3), dpi=(300, 300), profile=b"a profile")
    deep = picture.filled_deep(Image.new("RGB", (40, 24), (200, 100, 50)), hole)
    assert deep is not None
    data = picture.deep_png(deep)
    written = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    assert written.dtype == np.uint16
    assert np.array_equal(written[~hole], values[~hole])
    assert (written[hole][:, :3] == np.array([50, 100, 200]) * 257).all(), "blue, green, red"
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.getexif()[0x0112] == 3
        assert opened.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert opened.info["icc_profile"] == b"a profile"


def test_sixteen_bits_that_cannot_be_read_again_are_refused(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "deep.png"), np.full((8, 8, 3), 40_000, dtype=np.uint16))
    data = (tmp_path / "deep.png").read_bytes()
    with Image.open(io.BytesIO(data)) as opened, pytest.raises(ValueError, match="give the path of the file"):
        user_images.decode(opened, tmp_path / "deep.png")
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(TrialError, match="does not decode"):
        user_images.read(tmp_path / "half.png")
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((8, 8), 40_000, dtype=np.uint16))
    assert user_images.read(tmp_path / "grey.png").stored.getextrema() == (40_000, 40_000)


def test_no_damaged_file_ends_in_a_traceback(tmp_path: Path) -> None:
    """504 mutations of images of seven formats: each is read, or refused in four parts."""
    draw = np.random.default_rng(0)
    file, refused = tmp_path / "x", []
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", *(["AVIF"] if features.check("avif") else [])):
        buffer = io.BytesIO()
        pattern().save(buffer, kind)
        for _ in range(72):
            content = bytearray(buffer.getvalue())
            for place in draw.integers(0, len(content), draw.integers(1, 6)):
                content[place] = draw.integers(0, 256)
            file.write_bytes(content[: draw.integers(1, len(content) + 1)] if draw.random() < 0.5 else content)
            try:
                user_images.read(file)
            except TrialError as error:
                refused.append(error.why)
    assert len(refused) > 50
    assert not [why for why in refused if not why.startswith(("it does not decode", "it has"))]


def test_floating_point_pixels_are_refused(save: Save) -> None:
    with pytest.raises(TrialError, match="floating-point"):
        user_images.read(save(pattern().convert("F"), "x.tif"))


# --- holes ------------------------------------------------------------------------------------------------------------


def test_a_hole_in_the_pixels_of_the_file(save: Save) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = user_images.read(save(pattern(), exif=exif))
    stored = np.zeros((24, 40), dtype=bool)
    stored[2:9, 3:13] = True
    upright = np.asarray(Image.fromarray(stored.astype(np.uint8)).transpose(Image.Transpose.ROTATE_270)).astype(bool)
    assert np.array_equal(user_images.read_hole("3,2,10,7", picture), upright)
    for mask in (stored, upright):
        file = save(Image.fromarray(mask.astype(np.uint8) * 255), "mask.png")
        assert np.array_equal(user_images.read_hole(str(file), picture), upright)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("30,0,20,5", "not inside"),
        ("0,0,0,5", "not inside"),
        ("0,0,40,24", "covers the whole image"),
        ("1,2,3", "neither a file"),
        ("black.png", "no hole"),
        ("other.png", "20 x 20 px"),
    ],
)
def test_holes_that_are_refused(save: Save, monkeypatch: pytest.MonkeyPatch, given: str, why: str) -> None:
    picture = user_images.read(save(pattern()))
    monkeypatch.chdir(save(Image.new("L", (40, 24)), "black.png").parent)
    save(Image.new("L", (20, 20), 255), "other.png")
    with pytest.raises(TrialError, match=why):
        user_images.read_hole(given, picture)


# --- filling ----------------------------------------------------------------------------------------------------------


def test_at_the_networks_own_size_it_is_what_the_network_says(save: Save) -> None:
    config, weights = inpainter()
    network = predict.inpainter(config, weights)
    image = pattern(32, 32)
    hole = np.zeros((32, 32), dtype=bool)
    hole[8:24, 4:20] = True
    mask_b1hw = torch.from_numpy(hole).float()[None, None]
    image_b3hw = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        output = network(image_b3hw * (1 - mask_b1hw), mask_b1hw).clamp(0, 1).mul(255).round().byte()
    expected = np.where(hole[:, :, None], output[0].permute(1, 2, 0).numpy(), np.asarray(image))
    assert np.array_equal(predict.fill(network, config, user_images.read(save(image)), hole).image, expected)


@pytest.mark.parametrize("resize", [False, True])
def test_nothing_of_the_hole_is_seen_at_another_size(save: Save, resize: bool) -> None:
    config, weights = inpainter()
    network = predict.inpainter(config, weights)
    hole = np.zeros((130, 201), dtype=bool)
    hole[30:77, 51:90] = True
    large = np.asarray(pattern(201, 130)).copy()
    first = predict.fill(network, config, user_images.read(save(Image.fromarray(large))), hole, resize=resize).image
    large[hole] = generator("noise").initial_seed() % 251
    second = predict.fill(network, config, user_images.read(save(Image.fromarray(large))), hole, resize=resize).image
    assert np.array_equal(first, second)
    assert np.array_equal(np.asarray(first)[~hole], large[~hole])


def test_a_network_that_takes_text_is_told_it(save: Save) -> None:
    from trainables.training.networks import build_network

    config = schema.resolve(
        "inpaint", {**INPAINT, "loss": {"l1": 1.0}, "model": {"name": "tdanet", "width": 2, "embedding": 8}}
    )
    trained: Any = build_network(config["model"], 32)
    trained.set_vocabulary(Vocabulary(["bird", "red"]))
    network = predict.inpainter(config, trained.state_dict())
    hole = np.zeros((24, 40), dtype=bool)
    hole[6:18, 10:30] = True
    picture = user_images.read(save(pattern()))
    none, empty, red = (
        np.asarray(predict.fill(network, config, picture, hole, text).image) for text in (None, "", "red bird")
    )
    assert np.array_equal(none, empty)
    assert not np.array_equal(red, empty)
    predict.check_text(config)
    with pytest.raises(TrialError, match="takes no text") as caught:
        predict.check_text(inpainter()[0])
    assert "tdanet" in caught.value.allowed


def test_a_context_encoder_fills_the_centre_alone() -> None:
    model = {"name": "context_encoder", "predicts": "centre"}
    config = schema.resolve("inpaint", {**INPAINT, "model": model})
    hole = np.zeros((100, 60), dtype=bool)
    hole[25:75, 15:45] = True
    predict.check_hole(config, hole)
    with pytest.raises(TrialError, match="central"):
        predict.check_hole(config, np.roll(hole, 1, 1))


def test_weights_that_do_not_fit_and_models_that_fill_nothing() -> None:
    config, weights = inpainter()
    with pytest.raises(TrialError, match="shape"):
        predict.inpainter({**config, "model": {**config["model"], "width": 16}}, weights)
    with pytest.raises(TrialError, match="filled elsewhere"):
        predict.inpainter({**config, "model": {"name": "outputs", "path": "/x", "digest": None}}, {})


# --- detecting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["label", "box", "mask"])
def test_a_detector_says_what_and_where(save: Save, head: str) -> None:
    config, weights = detector(head=head)
    exif = Image.Exif()
    exif[0x0112] = 8
    picture = user_images.read(save(pattern(90, 50), exif=exif))
    network = predict.detector(config, weights)
    found = predict.detect(network, config, lambda _: Threshold(-100.0, {}), picture, resize=True)
    assert 0 < found.probability < 1
    files = predict.files(found, picture)
    said = json.loads(files["found.json"])
    assert (said["label"], said["width"], said["height"]) == ("inpainted", 90, 50)
    assert (said["box"] is None) == (head == "label" or found.box is None)
    assert ("mask head" in said["heat_map"]) == (head == "mask")
    assert float(found.heat_hw.max()) <= 1
    for name in ("found.png", "heat.png"):
        with Image.open(io.BytesIO(files[name])) as shown:
            assert (shown.size, shown.getexif()[0x0112]) == ((90, 50), 8)
    assert (said["resized"], said["windows"]) == (True, None)
    rated = predict.score_map(found, picture)
    assert (rated is not None) == (head == "mask")
    if rated is not None:
        with Image.open(io.BytesIO(rated)) as grey:
            assert (grey.mode, grey.size) == ("I;16", picture.upright().size)
            mean = np.asarray(grey).mean() / predict.MAP_WHITE
        assert mean == pytest.approx(found.heat_hw.mean().item(), abs=0.02)
    sure = predict.detect(network, config, lambda _: Threshold(100.0, {}), picture)
    assert (sure.label, sure.box) == ("authentic", None)
    said = json.loads(predict.files(sure, picture)["found.json"])
    assert np.shape(said["windows"]["probabilities"]) == (len(said["windows"]["tops"]), len(said["windows"]["lefts"]))
    assert said["windows"]["window_px"] == 32


def test_class_activation_shows_where_the_logit_comes_from() -> None:
    """The logit is the brightness of a corner after a 1x1 convolution, so Grad-CAM highlights that corner."""

    class Corner(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Conv2d(3, 2, 1, bias=False))
            torch.nn.init.ones_(self.trunk[1].weight)  # type: ignore[arg-type]

        def prepared(self, image_b3hw: Tensor) -> Tensor:
            return image_b3hw

        def forward(self, image_b3hw: Tensor) -> Any:
            from trainables.detect.output import DetectorOutput

            return DetectorOutput(self.trunk(image_b3hw).mean((1, 2, 3)))

    image_b3hw = torch.zeros(1, 3, 32, 32)
    image_b3hw[:, :, :8, 24:] = 1
    heat_hw = predict.activation(Corner(), image_b3hw)
    assert heat_hw.shape == (8, 8)
    assert torch.equal(heat_hw > 0.5, image_b3hw[0, 0, ::4, ::4] > 0.5)


def test_names_of_results() -> None:
    given = [Path("a/x.png"), Path("b/x.png"), Path("x.jpg")]
    assert predict.output_names(given) == ["x.png", "x-2.png", "x.jpg"]


def test_long_names_of_results_fit_a_file_system() -> None:
    names = predict.output_names([Path("é" * 124 + ".png"), Path("a", "é" * 124 + ".png"), Path("x." + "y" * 240)])
    assert len(set(names)) == 3
    assert all(len(name.encode()) + len(".filled.png") <= 255 for name in names)
    assert names[1].endswith("-2.png")
