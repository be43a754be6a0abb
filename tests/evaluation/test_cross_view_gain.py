"""The samples of the cross-view gain, and its arithmetic against numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pictured import Noise, by_view, origins
from torch import Tensor

from muskie.data.index import HoldOut, SceneIndex
from muskie.errors import ConfigError, DataError
from muskie.evaluation.cross_view_gain import (
    GainConfig,
    GainSamples,
    Predictor,
    cross_view_gain,
    errors,
    gain_samples,
    structure,
)
from muskie.models.patches import patchify

SIZE, PATCH = 16, 4


def sampled(*sources: Noise, holdout: HoldOut | None = None, patch: int = PATCH, **settings: int | float) -> GainSamples:
    config = GainConfig(**{"samples": 24, "window": 6, **settings})  # type: ignore[arg-type]
    heldout = SceneIndex(sources, "heldout", holdout or HoldOut(0.5))
    return gain_samples(heldout, SceneIndex(sources, "all"), config, SIZE, patch)


def blend(share: float, noise: float = 0.0) -> Predictor:
    """Gives `share` of the truth with true references (their first pixel is not black), a tenth of it else; and noise."""

    def predict(images: Tensor, mask: Tensor) -> Tensor:
        patch = images.shape[-1] // mask.shape[-1]
        truth = patchify(images.double() / 255, patch)[mask.flatten(2)]
        knows = (images[:, 0, :, 0, 0].sum(-1) > 0) & (mask.shape[1] == 4)
        shares = torch.where(knows, share, 0.1).repeat_interleave(mask.flatten(1).sum(1))[:, None]
        generator = torch.Generator().manual_seed(int(images.long().sum()))
        return shares * truth + noise * torch.randn(truth.shape, generator=generator, dtype=torch.float64)

    return predict


def random_samples(count: int, seed: int = 0) -> GainSamples:
    """Pictures of contrasts that differ from sample to sample; unrelated references are black."""
    rng = np.random.default_rng(seed)
    contrast = rng.uniform(0.2, 1, (count, 1, 1, 1, 1))
    images = (255 * contrast * rng.random((count, 4, 3, SIZE, SIZE))).astype(np.uint8)
    images[:, :, :, 0, 0] = 255
    mask = np.zeros((count, 4, 4, 4), dtype=bool)
    mask[:, 2:] = rng.random((count, 2, 4, 4)) < 0.7
    mask[:, 2:, 0, 0] = True
    unrelated = np.zeros((count, 2, 3, SIZE, SIZE), dtype=np.uint8)
    return GainSamples(*(torch.from_numpy(part) for part in (images, unrelated, mask)), [""] * count, [])


@pytest.mark.parametrize(("ratio", "patch"), [(0.9, 4), (0.9, 2), (0.75, 4), (0.33, 2), (0.999, 4)])
def test_references_are_whole_and_the_others_hidden_at_the_exact_ratio(ratio: float, patch: int) -> None:
    samples = sampled(Noise([40]), ratio=ratio, patch=patch)
    cells = (SIZE // patch) ** 2
    assert samples.mask.dtype == torch.bool and samples.mask.shape == (24, 4, SIZE // patch, SIZE // patch)
    assert not samples.mask[:, :2].any()
    assert (samples.mask[:, 2:].flatten(2).sum(-1) == min(round(ratio * cells), cells - 1)).all()
    assert len({mask.numpy().tobytes() for mask in samples.mask[:, 2:].flatten(0, 1)}) > 10


def test_references_may_be_masked_too() -> None:
    whole, masked = sampled(Noise([40])), sampled(Noise([40]), reference_ratio=0.75)
    for name in ("images", "unrelated", "places"):
        same = getattr(whole, name) == getattr(masked, name)
        assert same if name == "places" else same.all(), "they differ in nothing but the masks of the references"
    assert torch.equal(whole.mask[:, 2:], masked.mask[:, 2:])
    assert (masked.mask[:, :2].flatten(2).sum(-1) == 12).all()
    assert len({mask.numpy().tobytes() for mask in masked.mask[:, :2].flatten(0, 1)}) > 10
    # Only what is hidden of views 2 and 3 is judged: knowing the references by heart is worth nothing.
    seen: list[int] = []

    def predict(images: Tensor, mask: Tensor) -> Tensor:
        seen.append(int(mask[:, :2].sum()) if mask.shape[1] == 4 else 0)
        return blend(0.5)(images, mask)

    found = cross_view_gain(predict, masked, 8, 0)
    assert max(seen) == 8 * 2 * 12 and 0 < found.gain < 1
    with pytest.raises(ConfigError, match=r"reference_ratio=1"):
        GainConfig(reference_ratio=1.0)


def test_without_contrast_only_the_pattern_of_a_patch_counts() -> None:
    """Whoever predicts every patch at some contrast of its own, as MuM, CroCo and MAE do, has found all; who predicts
    something unrelated to it, nothing."""
    samples = random_samples(12)
    generator = torch.Generator().manual_seed(0)

    def faded(images: Tensor, mask: Tensor) -> Tensor:
        truth = patchify(images.double() / 255, SIZE // 4)[mask.flatten(2)]
        return 0.3 + truth * (0.1 + torch.rand(len(truth), 1, generator=generator, dtype=torch.float64))

    patch = samples.mask.shape[-1]
    assert SIZE // patch == PATCH
    whole, _ = errors(faded, samples.images, samples.mask, 4, 2)
    pattern, raw = errors(faded, samples.images, samples.mask, 4, 2, contrast=False)
    assert pattern.max() < 1e-12 < 1e-3 < whole.min() and raw.min() > 0.01
    # By hand: the least squares of a number for each patch.
    noisy = blend(0.4, noise=0.2)
    found, _ = errors(noisy, samples.images, samples.mask, 12, 2, contrast=False)
    predicted = noisy(samples.images, samples.mask).numpy()
    truth = patchify(samples.images.double() / 255, PATCH)[samples.mask.flatten(2)].numpy()
    at, counts = 0, samples.mask.flatten(1).sum(1).tolist()
    for number, count in enumerate(counts):
        squares = []
        for p, t in zip(predicted[at : at + count], truth[at : at + count], strict=True):
            p, t = (2 * (x.reshape(3, -1) - x.reshape(3, -1).mean(1, keepdims=True)).ravel() for x in (p, t))
            scale = max(np.linalg.lstsq(p[:, None], t, rcond=None)[0][0], 0)
            squares.append(((scale * p - t) ** 2).mean())
        assert found[number] == pytest.approx(np.mean(squares), rel=1e-9)
        at += count
    # Nothing predicted is nothing found, and no error of arithmetic.
    zero, _ = errors(lambda i, m: torch.zeros(int(m.sum()), 3 * PATCH**2), samples.images, samples.mask, 4, 2, False)
    everything, _ = errors(blend(0.0), samples.images, samples.mask, 4, 2, False)
    assert zero.isfinite().all() and (zero >= everything - 1e-12).all()


def test_samples_are_four_views_of_a_held_out_window() -> None:
    samples = sampled(Noise([40, 60]), samples=40)
    assert samples.images.shape == (40, 4, 3, SIZE, SIZE) and samples.images.dtype == torch.uint8
    assert samples.unrelated.shape == (40, 2, 3, SIZE, SIZE)
    for where, place in zip(origins(samples.images), samples.places, strict=True):
        scene = where[0, 0]
        assert (where[:, 0] == scene).all() and place == f"noise/scene{scene}"
        assert len(set(where[:, 1])) == 4 and np.ptp(where[:, 1]) <= 5
        assert where[:, 1].min() >= [20, 30][scene]
    assert set(origins(samples.images)[:, 0, 0]) == {0, 1}
    order = origins(samples.images)[:, :, 1].argsort(1)
    assert len({tuple(row) for row in order}) > 8  # references are no earlier and no later than the others


def test_unrelated_references_come_from_another_scene_of_the_same_source() -> None:
    one, two = Noise([20, 30, 20]), Noise([40, 40], name="other")
    samples = sampled(one, two, samples=60)
    found = set()
    for views, others, place in zip(samples.images, samples.unrelated, samples.places, strict=True):
        (scene, other) = origins(views)[0, 0], origins(others)
        assert other[0, 0] == other[1, 0] != scene and other[0, 1] != other[1, 1]
        found.add((place.split("/")[0], int(scene), int(other[0, 0])))
    assert found == {("noise", a, b) for a in range(3) for b in range(3) if a != b} | {("other", 0, 1), ("other", 1, 0)}


def test_another_scene_of_the_same_room_is_not_unrelated() -> None:
    samples = sampled(Noise([20] * 5, rooms=["a", "a", "b", "c", "c"]), samples=200)
    rooms = "aabcc"
    pairs = {
        (int(origins(views)[0, 0]), int(origins(others)[0, 0]))
        for views, others in zip(samples.images, samples.unrelated, strict=True)
    }
    assert pairs == {(one, other) for one in range(5) for other in range(5) if rooms[one] != rooms[other]}
    # Scenes of an only room: the farthest frames of the scene itself.
    alone = sampled(Noise([50, 50], rooms=["a", "a"]), holdout=HoldOut(0.2))
    for views, others in zip(alone.images, alone.unrelated, strict=True):
        assert origins(others).tolist() == [[origins(views)[0, 0], 0], [origins(views)[0, 0], 1]]


def test_whole_scenes_held_out_may_be_compared_with_training_scenes() -> None:
    samples = sampled(Noise([8] * 10), holdout=HoldOut(0.2, "scenes"), samples=40)
    assert set(origins(samples.images)[:, :, 0].ravel()) == {8, 9}
    assert len(set(origins(samples.unrelated)[:, 0, 0])) > 6


def test_unrelated_references_are_the_farthest_frames_of_an_only_scene() -> None:
    samples = sampled(Noise([50]), holdout=HoldOut(0.2))
    assert {tuple(row) for row in origins(samples.unrelated)[:, :, 1]} == {(0, 1)}
    # Not those of the sample itself, even where they are the farthest.
    few = sampled(Noise([8]), holdout=HoldOut(0.9))
    for views, others in zip(origins(few.images)[..., 1], origins(few.unrelated)[..., 1], strict=True):
        assert not set(views) & set(others)
        distance = np.abs(np.arange(8) - views.mean())
        left = sorted(set(range(8)) - set(views), key=lambda number: -distance[number])
        assert distance[others].tolist() == distance[left[:2]].tolist()
    with pytest.raises(DataError, match=r"noise/scene0 has 5 images and no other room"):
        sampled(Noise([5]), holdout=HoldOut(0.9))


def test_broken_images_are_replaced() -> None:
    samples = sampled(Noise([20, 20], broken=[(0, 12), (1, 3), (1, 15)]), samples=40)
    seen = {tuple(row) for row in np.concatenate([origins(samples.images), origins(samples.unrelated)], 1).reshape(-1, 2)}
    assert not seen & {(0, 12), (1, 3), (1, 15)}
    assert all(len(set(views)) == 4 for views in origins(samples.images)[..., 1])
    assert set(samples.unreadable) == {"scene0/12: broken", "scene1/3: broken", "scene1/15: broken"}
    assert len(samples.unreadable) == 3 and not sampled(Noise([20, 20])).unreadable


def test_samples_depend_on_the_seed_alone() -> None:
    first, again, other = sampled(Noise([40, 40])), sampled(Noise([40, 40])), sampled(Noise([40, 40]), seed=1)
    for name in ("images", "unrelated", "mask"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))
    assert first.places == again.places
    fewer = sampled(Noise([40, 40]), samples=5)
    assert torch.equal(fewer.images, first.images[:5]) and torch.equal(fewer.mask, first.mask[:5])


def literal_errors(images: np.ndarray, mask: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Structure and raw error of one sample by loops, in units of [-1, 1]; pictures in [0, 255] and [0, 1]."""
    structured, raw = [], []
    for view, y, x in np.argwhere(mask):
        box = np.s_[view, :, y * PATCH : (y + 1) * PATCH, x * PATCH : (x + 1) * PATCH]
        want, have = images[box] / 127.5 - 1, 2 * predicted[box] - 1
        for channel in range(3):
            raw.append((have[channel] - want[channel]) ** 2)
            structured.append(((have[channel] - have[channel].mean()) - (want[channel] - want[channel].mean())) ** 2)
    return float(np.mean(structured)), float(np.mean(raw))


def test_errors_and_gain_are_what_numpy_finds() -> None:
    samples = sampled(Noise([40, 40]), samples=7)
    pictures = torch.rand(7, 4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    by_bytes = {image[2:].numpy().tobytes(): picture for image, picture in zip(samples.images, pictures, strict=True)}

    def draw(views: Tensor, hidden: Tensor, view: int) -> Tensor:
        """A random picture; with references, whichever, half of the truth."""
        guess = by_bytes[views[-2:].numpy().tobytes()][view - len(views)]
        return 0.5 * guess + 0.5 * views[view].double() / 255 if len(views) == 4 else guess

    structured, raw = errors(by_view(draw), samples.images, samples.mask, batch=3)
    assert structured.dtype == raw.dtype == torch.float64 and structured.shape == (7,)
    absent_structured, _ = errors(by_view(draw), samples.images[:, 2:], samples.mask[:, 2:], batch=3)
    for n in range(7):
        images, mask = samples.images[n].numpy().astype(float), samples.mask[n].numpy()
        guess = pictures[n].numpy()
        found = (float(structured[n]), float(raw[n]))
        assert literal_errors(images, mask, 0.5 * guess + 0.5 * images / 255) == pytest.approx(found)
        assert literal_errors(images[2:], mask[2:], guess[2:])[0] == pytest.approx(float(absent_structured[n]))
    gain = cross_view_gain(by_view(draw), samples)
    assert gain.true == gain.unrelated == pytest.approx(float(structured.mean()))
    assert gain.absent == pytest.approx(float(absent_structured.mean())) and gain.absent > gain.unrelated
    assert gain.gain == 0  # against the better of the controls
    assert gain.psnr == pytest.approx(10 * np.log10(4 / float(raw.mean())))


def test_the_gain_is_one_minus_the_ratio_to_the_better_control() -> None:
    samples = random_samples(30)
    gain = cross_view_gain(blend(0.75), samples)
    # A share s of the truth leaves (1 - s)² of its structure.
    assert gain.true / gain.absent == pytest.approx(0.25**2 / 0.9**2)
    assert gain.unrelated == pytest.approx(gain.absent)
    assert gain.gain == pytest.approx(1 - 0.25**2 / 0.9**2)
    assert cross_view_gain(blend(1.0), samples).gain == 1
    assert cross_view_gain(blend(0.0), samples).gain == pytest.approx(1 - 1 / 0.9**2)  # worse with references: below 0


def test_controls_see_the_same_hidden_patches() -> None:
    samples, calls = sampled(Noise([40, 40]), samples=5), []

    def predict(images: Tensor, mask: Tensor) -> Tensor:
        calls.append((images.clone(), mask.clone()))
        return torch.zeros(int(mask.sum()), 3 * PATCH * PATCH)

    cross_view_gain(predict, samples, batch=2)
    assert len(calls) == 9
    stages = [calls[:3], calls[3:6], calls[6:]]
    images = [torch.cat([call[0] for call in stage]) for stage in stages]
    masks = [torch.cat([call[1] for call in stage]) for stage in stages]
    assert torch.equal(images[0], samples.images) and torch.equal(masks[0], samples.mask)
    assert torch.equal(images[1][:, :2], samples.unrelated) and torch.equal(images[1][:, 2:], samples.images[:, 2:])
    assert torch.equal(masks[1], samples.mask)
    assert torch.equal(images[2], samples.images[:, 2:]) and torch.equal(masks[2], samples.mask[:, 2:])


def test_structure_has_no_mean_in_any_channel() -> None:
    patches = torch.rand(5, 2, 3 * 16, dtype=torch.float64)
    found = structure(patches)
    expected = patches.numpy().reshape(5, 2, 3, 16)
    np.testing.assert_allclose(found, (expected - expected.mean(-1, keepdims=True)).reshape(5, 2, 48), atol=1e-12)


def test_the_batch_size_changes_nothing() -> None:
    samples = random_samples(10)
    assert cross_view_gain(blend(0.6), samples, batch=1) == cross_view_gain(blend(0.6), samples, batch=16)


def test_the_interval_holds_the_gain_and_shrinks_with_more_samples() -> None:
    widths = []
    for count in (10, 160):
        gain = cross_view_gain(blend(0.6, noise=0.2), random_samples(count), batch=1)
        assert gain.low < gain.gain < gain.high < 1 and gain.samples == count
        widths.append(gain.high - gain.low)
    assert 2.5 < widths[0] / widths[1] < 6.5  # about the square root of sixteen


def test_the_interval_is_a_bootstrap_over_samples() -> None:
    samples = random_samples(40)
    predict = blend(0.6, noise=0.2)
    replaced = torch.cat([samples.unrelated, samples.images[:, 2:]], dim=1)
    inputs = [(samples.images, samples.mask), (replaced, samples.mask), (samples.images[:, 2:], samples.mask[:, 2:])]
    table = np.stack([errors(predict, *part, batch=1)[0].numpy() for part in inputs])
    rng, gains = np.random.default_rng(7), []
    for _ in range(4000):
        true, unrelated, absent = table[:, rng.integers(40, size=40)].mean(1)
        gains.append(1 - true / min(unrelated, absent))
    gain = cross_view_gain(predict, samples, batch=1)
    width = gain.high - gain.low
    assert np.abs(np.quantile(gains, [0.025, 0.975]) - [gain.low, gain.high]).max() < 0.15 * width
    assert cross_view_gain(predict, samples, batch=1) == gain
    other = cross_view_gain(predict, samples, batch=1, seed=1)
    assert other.gain == gain.gain and (other.low, other.high) != (gain.low, gain.high)


def test_all_terms_are_told() -> None:
    gain = cross_view_gain(blend(0.6), random_samples(4))
    terms = ("gain", "low", "high", "true", "unrelated", "absent", "psnr")
    assert gain.scalars() == {f"heldout/cross_view_{name}": getattr(gain, name) for name in terms}
    assert str(replace(gain, gain=-0.0001, low=-0.0004)).startswith("cross-view gain 0.000 (95 % interval 0.000 to ")
    assert f"cross-view gain {gain.gain:.3f}" in str(gain) and "4 samples" in str(gain) and "dB" in str(gain)


@pytest.mark.parametrize("settings", [{"samples": 1}, {"batch": 0}, {"window": 3}, {"ratio": 0.0}, {"ratio": 1.0}])
def test_impossible_settings_are_told(settings: dict[str, float]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(ConfigError, match=rf"^evaluation\.{name}={value}: expected [^\n]*$"):
        GainConfig(**settings)  # type: ignore[arg-type]


def test_where_nothing_has_structure_nothing_is_gained() -> None:
    samples = random_samples(4)
    samples.images.fill_(90)
    gain = cross_view_gain(blend(0.5), samples)
    assert (gain.true, gain.gain, gain.low, gain.high) == (0, 0, 0, 0)
    broken = cross_view_gain(lambda images, mask: torch.full((int(mask.sum()), 48), torch.nan), random_samples(4))
    assert np.isnan([broken.true, broken.gain, broken.low, broken.high]).all()
    alone = cross_view_gain(lambda images, mask: blend(torch.nan if images.shape[1] == 4 else 0.5)(images, mask), samples)
    assert alone.absent == 0 and np.isnan([alone.true, alone.gain]).all()
