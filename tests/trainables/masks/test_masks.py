"""Masks: the pixels that they cover, their dependence on generator and image index alone, and errors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainables import registry
from trainables.data.image_files import WHITE, read_grey
from trainables.errors import TrialError
from trainables.inference import user_images
from trainables.masks import families as masks

NVIDIA = "nvidia_irregular_masks/testing_mask_dataset"
CANVAS = masks.Canvas(32, None)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def config(name):
    """A resolved `mask` section with every default filled in."""
    given = {"path": NVIDIA} if name == "irregular" else {}
    return {"name": name, **registry.find("mask", name).options(given).model_dump()}


def family(name, n, canvas, source, **options):
    """Masks of a family with some options."""
    return getattr(masks, name)(n, canvas, source, registry.find("mask", name).options(options))


def everything(draw):
    return draw.masks(torch.arange(len(draw)), "cpu")


@pytest.mark.parametrize("name", sorted(registry.names("mask")))
@pytest.mark.parametrize("size", [32, 40])
class TestEveryFamily:
    def draw(self, name, size, root, n=37, seed=0):
        objects_nhw = (torch.rand(37, size, size, generator=generator()) < 0.5).to(torch.uint8)
        return masks.draw(config(name), n, masks.Canvas(size, root, objects_nhw), generator(seed))

    def test_shape_and_values(self, name, size, data_root):
        mask = everything(self.draw(name, size, data_root))
        assert mask.shape == (37, 1, size, size)
        assert mask.dtype == torch.float32
        assert set(mask.unique().tolist()) == {0.0, 1.0}

    def test_depends_on_generator_and_image_index_only(self, name, size, data_root):
        draw = self.draw(name, size, data_root)
        mask = everything(draw)
        order = torch.randperm(37, generator=generator(1))
        batches = [draw.masks(index, "cpu") for index in order.split(8)]
        assert torch.equal(torch.cat(batches), mask[order])
        assert torch.equal(draw.to("cpu").masks(order, "cpu"), mask[order])
        assert torch.equal(everything(self.draw(name, size, data_root)), mask)
        assert torch.equal(everything(self.draw(name, size, data_root, n=20)), mask[:20])  # independent of n

    def test_a_worker_may_have_no_image_of_a_batch(self, name, size, data_root):
        assert self.draw(name, size, data_root).masks(torch.arange(0), "cpu").shape == (0, 1, size, size)

    def test_another_seed_draws_other_masks(self, name, size, data_root):
        same = torch.equal(
            everything(self.draw(name, size, data_root)), everything(self.draw(name, size, data_root, seed=1))
        )
        assert same == (name in ("centre", "object"))

    def test_leaves_global_random_state_alone(self, name, size, data_root):
        before = torch.get_rng_state()
        everything(self.draw(name, size, data_root))
        assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_family_is_refused():
    with pytest.raises(TrialError) as caught:
        masks.draw({"name": "line"}, 1, CANVAS, generator())
    assert "lines" in caught.value.fix


@pytest.mark.parametrize(
    ("count", "thickness", "percent"), [([1, 3], [1, 2], 4.5), ([1, 5], [1, 2], 6.6), ([1, 10], [1, 3], 15.4)]
)
def test_lines_cover_what_is_documented(count, thickness, percent):
    draw = family("lines", 4000, CANVAS, generator(), count=count, thickness=thickness)
    assert everything(draw).mean().item() * 100 == pytest.approx(percent, abs=0.4)


def test_a_line_is_a_rectangle_of_its_length_and_thickness():
    """Compared with the distance of every pixel from the line, in float64."""
    draw = family("lines", 200, CANVAS, generator(), count=[1, 4], thickness=[1, 3])
    x, y, slope, half_length, half_thickness = draw.parameters.double().unsqueeze(3).unsqueeze(3).unbind(2)
    angle = torch.atan2(slope, torch.ones_like(slope))
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    along = (columns - x) * angle.cos() + (rows - y) * angle.sin()
    across = (rows - y) * angle.cos() - (columns - x) * angle.sin()
    # Converts extents along x to length and thickness. Pixels near the edges are ignored because of float32 rounding.
    ends = along.abs() - half_length * angle.cos().abs()
    sides = across.abs() - half_thickness * angle.sin().abs()
    outside = torch.maximum(ends, sides).amin(1)
    mask = everything(draw)[:, 0]
    clear = outside.abs() > 1e-3
    assert torch.equal(mask[clear], (outside < 0).float()[clear])
    assert clear.float().mean() > 0.99


def test_thickness_is_in_pixels_and_lines_have_no_gaps():
    for thickness in (1, 3):
        draw = family("lines", 300, CANVAS, generator(), count=[1, 1], thickness=[thickness, thickness])
        area = everything(draw).sum((1, 2, 3))
        x, y, slope, half_length, _ = draw.parameters[:, 0].unbind(1)
        length = 2 * half_length / (1 + slope.square()).sqrt()
        assert length.min() >= 8 - 1e-3
        assert length.max() <= 32 + 1e-3
        half = length / 2
        inside = (x - half > 1) & (x + half < 30) & (y - half > 1) & (y + half < 30)
        assert inside.sum() > 5
        assert (area[inside] / (length[inside] * thickness)).mean().item() == pytest.approx(1, abs=0.05)


def test_a_level_line_is_finite(monkeypatch):
    """The generator does draw a direction of exactly 0, once in 17 million lines."""
    monkeypatch.setattr(masks, "_uniform", lambda n, columns, _: torch.zeros(n, columns))
    draw = family("lines", 1, CANVAS, generator(), count=[1, 1], thickness=[1, 1])
    assert draw.parameters.isfinite().all()
    assert everything(draw)[0, 0, 0, :4].tolist() == [1, 1, 1, 1]  # centred on the corner, level, 8 px long


def test_a_rectangle_has_its_share_and_aspect():
    draw = family("rectangle", 2000, masks.Canvas(64, None), generator(), fraction=[0.1, 0.4], aspect=3.0)
    _, _, height, width = draw.parameters.unbind(1)
    share = everything(draw).mean((1, 2, 3))
    assert torch.allclose(share, height * width / 64**2)
    assert share.mean().item() == pytest.approx(0.25, abs=0.01)
    assert (share > 0.08).all()
    assert (share < 0.43).all()
    ratio = (height / width).log()
    assert ratio.abs().max().item() == pytest.approx(math.log(3), abs=0.1)
    assert ratio.mean().item() == pytest.approx(0, abs=0.05)


def test_a_rectangle_that_would_not_fit_gets_a_smaller_aspect():
    share = everything(family("rectangle", 500, CANVAS, generator(), fraction=[0.9, 0.95], aspect=2.0)).mean((1, 2, 3))
    assert share.min() > 0.85
    assert share.max() < 1


@pytest.mark.parametrize(("size", "fraction", "side"), [(32, 0.25, 16), (128, 0.25, 64), (32, 0.19140625, 14)])
def test_the_centre_is_a_centred_square(size, fraction, side):
    mask = everything(family("centre", 2, masks.Canvas(size, None), generator(), fraction=fraction))[0, 0]
    corner = (size - side) // 2
    expected = torch.zeros(size, size)
    expected[corner : corner + side, corner : corner + side] = 1
    assert torch.equal(mask, expected)


def test_random_regions_have_the_share_that_was_drawn():
    for size in (32, 128):
        draw = family("random_regions", 300, masks.Canvas(size, None), generator())
        share = everything(draw).mean((1, 2, 3))
        assert torch.equal((share * size**2).round(), draw.parameters[:, 0])
        assert share.min() >= 0.2 - 1 / size**2
        assert share.max() <= 0.3 + 1 / size**2
        assert share.mean().item() == pytest.approx(0.25, abs=0.005)


def test_random_regions_lie_anywhere_and_are_blobs():
    mask = everything(family("random_regions", 2000, CANVAS, generator()))
    assert (mask.mean(0) - 0.25).abs().max() < 0.05, "no pixel is preferred"
    neighbours = (mask[..., 1:] == mask[..., :-1]).float().mean()
    assert neighbours > 0.85, "independent pixels would agree in 62 %"
    finer = everything(family("random_regions", 200, CANVAS, generator(), cells=16))
    assert (finer[..., 1:] == finer[..., :-1]).float().mean() < neighbours


def test_the_weights_of_noise_cells_are_those_of_bicubic_interpolation():
    draw = family("random_regions", 5, CANVAS, generator())
    weights = draw._weights(draw.parameters[:, 1].double())
    assert weights.sum(2).sub(1).abs().max() < 1e-12
    ramp = torch.arange(12, dtype=torch.float64)  # Keys' kernel reproduces it
    position = 1 + (torch.arange(32) + 0.5) / 4 + draw.parameters[:, 1:2].double()
    torch.testing.assert_close(weights @ ramp, position)


def test_random_blocks_are_squares_of_a_fifth_of_the_side():
    draw = family("random_blocks", 3000, masks.Canvas(128, None), generator())
    mask = everything(draw)
    assert mask.mean((1, 2, 3)).max() <= 0.25
    single = draw.parameters[:, :, 2].bool().sum(1) == 1
    assert single.float().mean().item() == pytest.approx(0.2, abs=0.03)
    rows = mask[single].amax(3).sum(2)
    assert set(rows.flatten().tolist()) == {26.0}, "inside the image, and whole"
    assert set(mask[single].sum((1, 2, 3)).tolist()) == {26.0**2}
    corners = draw.parameters[:, 0, :2]
    assert corners.amin() == 0
    assert corners.amax() == 128 - 26


# --- files ------------------------------------------------------------------------------------------------------------


def write(folder, name, pixels):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(folder / name)


@pytest.fixture
def one_file(tmp_path):
    """A data root with one 8x8 mask file, `m/a.png`: its first row is white, its last has the values 127 and 128."""
    pixels = np.zeros((8, 8))
    pixels[0] = 255
    pixels[7, :2] = 127, 128
    write(tmp_path / "m", "a.png", pixels)
    return tmp_path


def test_a_mask_file_is_cut_at_128(one_file):
    canvas = masks.Canvas(8, one_file)
    mask = everything(family("irregular", 1, canvas, generator(), path="m", augment=False))[0, 0]
    assert mask[0].tolist() == [1] * 8
    assert mask[7].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    with pytest.warns(UserWarning, match="hole: white"):
        black = family("irregular", 1, canvas, generator(), path="m", hole="black", augment=False)
    assert torch.equal(everything(black)[0, 0], 1 - mask)


def test_files_are_flipped_and_turned_all_eight_ways(one_file):
    draw = family("irregular", 200, masks.Canvas(8, one_file), generator(), path="m")
    assert len(everything(draw).unique(dim=0)) == 8


def test_nvidias_masks(data_root):
    canvas = masks.Canvas(32, data_root)
    shares = everything(family("irregular", 500, canvas, generator(), path=NVIDIA)).mean((1, 2, 3))
    assert 0.2 < shares.mean() < 0.4
    some = everything(family("irregular", 200, canvas, generator(), path=NVIDIA, fraction=[0.1, 0.2])).mean((1, 2, 3))
    assert some.min() >= 0.1
    assert some.max() <= 0.2


def bad_file(root):
    (root / "m" / "b.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("break_it", "options", "expected"),
    [
        (None, {"path": "missing"}, "missing"),
        (None, {"path": "../m"}, "data root"),
        (None, {"path": "m/a.png"}, "not a folder"),
        (lambda root: (root / "m" / "a.png").rename(root / "m" / "a.txt"), {"path": "m"}, "no image"),
        (bad_file, {"path": "m"}, "b.png"),
        (None, {"path": "m", "fraction": [0.5, 0.6]}, "none is in that range"),
    ],
)
def test_unusable_files_are_refused(one_file, break_it, options, expected):
    if break_it is not None:
        break_it(one_file)
    with pytest.raises(TrialError) as caught:
        family("irregular", 1, masks.Canvas(8, one_file), generator(), **options)
    assert expected in str(caught.value)


def test_other_impossible_options_are_refused():
    for name, options in (
        ("irregular", {"path": "m"}),  # the canvas has no root
        ("centre", {"fraction": 1e-4}),
        ("centre", {"fraction": 0.999}),
        ("lines", {"thickness": [1, 33]}),
        ("lines", {"count": [1, 5000]}),
        ("random_blocks", {"count": [1, 5000]}),
        ("random_blocks", {"side": 0.01}),
        ("random_blocks", {"side": 0.99}),
    ):
        with pytest.raises(TrialError) as caught:
            family(name, 1, CANVAS, generator(), **options)
        assert all((caught.value.given, caught.value.why, caught.value.allowed, caught.value.fix))


# --- free form --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 128])
def test_a_free_form_hole_is_a_rectangle_and_all_pixels_near_a_stroke(size):
    draw = family("free_form", 20, masks.Canvas(size, None), generator())
    found = everything(draw)[:, 0]
    y, x = torch.meshgrid(*[torch.arange(size, dtype=torch.float64)] * 2, indexing="ij")
    sure = torch.ones(20, size, size, dtype=torch.bool)  # pixels that rounding at a stroke's edge does not affect
    expected = torch.zeros_like(found)
    for i, parameters in enumerate(draw.parameters.double()):
        top, left, height, width = parameters[:4]
        expected[i] = (y >= top) & (y < top + height) & (x >= left) & (x < left + width)
        for x0, y0, x1, y1, _, _, half in parameters[4:].view(-1, 7).tolist():
            if half < 0:
                continue
            length = math.hypot(x1 - x0, y1 - y0)
            along = (((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / max(length, 1e-9) ** 2).clamp(0, 1)
            distance = torch.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
            expected[i] = torch.maximum(expected[i], (distance <= half).float())
            sure[i] &= (distance - half).abs() > 1e-2
    assert sure.float().mean() > 0.95
    assert torch.equal(found[sure], expected[sure])


def test_free_form_holes_are_those_of_deepfill():
    """MODELS.md section 1.5, at 256 px; see `strokes.py`."""
    n = 3000
    draw = family("free_form", n, masks.Canvas(256, None), generator())
    box = draw.parameters[:, :4]
    assert (box[:, 2:].min(), box[:, 2:].max()) == (96, 128)
    assert box[:, :2].min() >= 0
    assert (box[:, :2] + box[:, 2:]).max() <= 256
    segments = draw.parameters[:, 4:].view(n, 3, 11, 7)
    used = segments[..., 6] > 0
    assert set(used.any(2).sum(1).unique().tolist()) == {1, 2, 3}
    assert set(used.sum(2).unique().tolist()) == {0, *range(4, 12)}
    assert 2 * segments[used][:, 6].min() == pytest.approx(12, abs=0.1)
    assert 2 * segments[used][:, 6].max() == pytest.approx(40, abs=0.1)
    ends = segments[..., :4]
    assert ends.min() >= -0.5
    assert ends.max() <= 255.5
    assert torch.equal(ends[:, :, 1:, :2], ends[:, :, :-1, 2:]), "each begins where the one before ended"
    step = ends[..., 2:] - ends[..., :2]
    inside = ((ends[..., 2:] > 0) & (ends[..., 2:] < 255)).all(3)
    radius = math.hypot(256, 256) / 8
    assert step[inside].norm(dim=1).max() <= 2 * radius * 1.001
    angle = torch.atan2(step[..., 1], step[..., 0])[inside & (step.norm(dim=3) > 1)]
    assert angle.abs().min() >= 2 * math.pi / 5 - 2 * math.pi / 15 - 1e-3
    assert angle.abs().max() <= 2 * math.pi / 5 + 2 * math.pi / 15 + 1e-3


@pytest.mark.parametrize("size", [32, 64, 256])
def test_free_form_holes_cover_a_third_at_every_size(size):
    both, strokes = (
        everything(family("free_form", 300, masks.Canvas(size, None), generator(), rectangle=rectangle)).mean().item()
        for rectangle in (True, False)
    )
    assert both == pytest.approx(0.31, abs=0.02)
    assert strokes == pytest.approx(0.155, abs=0.02)


# --- mask files that mask nothing -------------------------------------------------------------------------------------


def _palette() -> Image.Image:
    indexed = Image.fromarray(np.eye(32, dtype=np.uint8).repeat(2, axis=1))
    coloured = Image.fromarray(np.asarray(indexed)).convert("P")
    coloured.putpalette([0, 0, 0, 128, 0, 0])  # the dark red of segmentation masks
    return coloured


HALF = np.arange(32)[None].repeat(32, axis=0) >= 16
THIN = np.zeros((320, 320), dtype=np.uint8)
THIN[0, ::3] = 255
USELESS = {
    "0 and 1": (Image.fromarray(HALF.astype(np.uint8)), "its grey values are 0 to 1"),
    "palette": (_palette(), "its grey values are 0 to 38"),
    "alpha": (Image.fromarray(np.dstack([np.zeros((32, 32, 3)), HALF * 255]).astype(np.uint8)), "transparency"),
    "grey": (Image.fromarray((HALF * 127).astype(np.uint8)), "0 to 127"),
    "thin": (Image.fromarray(THIN), "too thin"),
    "all": (Image.new("L", (32, 32), 255), "nothing but a hole: all of its pixels are 255"),
}


@pytest.mark.parametrize("kind", USELESS)
def test_files_that_mask_nothing_or_everything_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "m").mkdir()
    for number in range(3):
        Image.fromarray((HALF * 255).astype(np.uint8)).save(tmp_path / "m" / f"good{number}.png")
    image, why = USELESS[kind]
    image.save(tmp_path / "m" / "bad.png")
    section = {"name": "irregular", "path": "m", "hole": "white", "fraction": None, "augment": True}
    with pytest.raises(TrialError) as caught:
        masks.draw(section, 1, masks.Canvas(16, tmp_path), torch.Generator().manual_seed(0))
    assert "1 of 4 masks" in caught.value.why
    assert "bad.png" in caught.value.why
    assert why in caught.value.why
    wanted = {**section, "fraction": [0.01, 0.9]}  # what the error advises
    drawn = masks.draw(wanted, 4, masks.Canvas(16, tmp_path), torch.Generator().manual_seed(0))
    assert drawn.masks(torch.arange(4), torch.device("cpu")).mean((1, 2, 3)).tolist() == [0.5] * 4


def test_predict_reads_a_mask_like_training(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "image.png")
    picture = user_images.read(tmp_path / "image.png")
    for image in (*(each for each, _ in USELESS.values()), Image.fromarray((HALF * 65535).astype(np.uint16))):
        image = image.resize((32, 32), Image.Resampling.NEAREST)
        image.save(tmp_path / "mask.png")
        trained = np.asarray(read_grey(image)) >= WHITE
        if 0 < trained.mean() < 1:
            assert (user_images.read_hole(str(tmp_path / "mask.png"), picture) == trained).all()
        else:
            with pytest.raises(TrialError, match=r"no hole|whole image"):
                user_images.read_hole(str(tmp_path / "mask.png"), picture)


def test_masks_of_a_users_function_without_any_hole_are_refused(tmp_path: Path) -> None:
    drawn = "(torch.arange(n) < last)[:, None, None].expand(n, size, size)"
    source = f"import torch\ndef m(n, size, generator, *, last: int = 0):\n    return {drawn}\n"
    (tmp_path / "m.py").write_text(source)
    name = registry.resolve_name("mask", "./m.py", {"folder": tmp_path})
    canvas, section = masks.Canvas(16, tmp_path), {"name": name, "last": 0}
    with pytest.raises(TrialError, match="none of the 4 masks has a hole"):
        masks.draw(section, 4, canvas, torch.Generator())
    masks.draw({**section, "last": 1}, 4, canvas, torch.Generator())
