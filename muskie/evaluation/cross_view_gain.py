"""The cross-view gain: how much of what is hidden a model finds in the other views, and not by in-painting.

Held-out samples of four views from one window of frames: views 0 and 1 (the references) whole, most patches of views 2 and
3 hidden at random. E is the mean squared error over the hidden patches, in units of [-1, 1], after each patch's mean
colour is taken out of prediction and target, so that copying a colour cast earns nothing. Two controls see the same
hidden patches with references that cannot help: *unrelated* ones, and *absent* ones. With `reference_ratio`, the
references are masked too, as MuM's views all are; their hidden patches are not counted.

    gain = 1 - E(true) / min(E(unrelated), E(absent))

0: the model in-paints. Higher: it finds content in the other views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from muskie.data.crops import Crop
from muskie.data.index import Place, SceneIndex
from muskie.data.reading import FrameReader, read_views
from muskie.data.sampling import draw_frames
from muskie.errors import ConfigError, DataError
from muskie.masking import MaskChoice, MaskPolicy
from muskie.models.patches import patchify
from muskie.streams import stream

REFERENCES = 2
VIEWS = 4

Predictor = Callable[[Tensor, Tensor], Tensor]
"""Images uint8 [B, V, 3, H, W] and mask bool [B, V, h, w] -> the M hidden patches [M, 3·p·p], colours in [0, 1]."""


@dataclass(frozen=True)
class GainConfig:
    """Which samples to measure on.

    Attributes:
        samples: how many.
        size: side of the square images in pixels; None: the smallest training size.
        window: frames that the four views are drawn from.
        ratio: share of hidden patches in views 2 and 3.
        batch: samples of a forward pass.
        seed: of the samples, the same for every run.
        reference_ratio: share of hidden patches in views 0 and 1; 0: they are whole.
        contrast: whether a patch's contrast counts. If not, each predicted patch gets the one that fits the truth best, so
            that models that predict none (`patch_norm`: MuM, CroCo, MAE) are measured as those that do.
    """

    samples: int = 64
    size: int | None = None
    window: int = 16
    ratio: float = 0.9
    batch: int = 16
    seed: int = 0
    reference_ratio: float = 0.0
    contrast: bool = True

    def __post_init__(self) -> None:
        rules = {
            "samples": (self.samples >= 2, "at least 2; holdout.share=0 measures nothing"),
            "size": (self.size is None or self.size >= 1, "at least 1, or null for the smallest training size"),
            "window": (self.window >= VIEWS, f"at least {VIEWS}, the views of a sample"),
            "ratio": (0 < self.ratio < 1, "a share in (0, 1), e.g. 0.9"),
            "batch": (self.batch >= 1, "at least 1"),
            "seed": (self.seed >= 0, "0 or more"),
            "reference_ratio": (0 <= self.reference_ratio < 1, "a share in [0, 1), 0 for whole references"),
        }
        problems = [f"evaluation.{n}={getattr(self, n)}: expected {text}" for n, (holds, text) in rules.items() if not holds]
        if problems:
            raise ConfigError("\n".join(problems))

    def side(self, sizes: Sequence[int]) -> int:
        """The side of the images of a run that trains at these sizes."""
        return min(sizes) if self.size is None else self.size


@dataclass
class GainSamples:
    """Fixed samples: `images` uint8 [N, 4, 3, S, S], `unrelated` references uint8 [N, 2, 3, S, S], `mask` bool
    [N, 4, h, w] with views 0 and 1 whole but for `reference_ratio`, `places`, where each comes from, and `unreadable`,
    messages of skipped images."""

    images: Tensor
    unrelated: Tensor
    mask: Tensor
    places: list[str]
    unreadable: list[str]


@dataclass(frozen=True)
class Gain:
    """The measure and all its terms.

    Attributes:
        gain: see the module; `low`, `high`: its 95 % interval by bootstrap over the samples.
        true, unrelated, absent: E with these references.
        psnr: of the raw colours of the hidden patches with the true references, dB.
        samples: how many it was measured on.
    """

    gain: float
    low: float
    high: float
    true: float
    unrelated: float
    absent: float
    psnr: float
    samples: int

    def scalars(self) -> dict[str, float]:
        """All terms by the names they are logged under."""
        names = ("gain", "low", "high", "true", "unrelated", "absent", "psnr")
        return {f"heldout/cross_view_{name}": getattr(self, name) for name in names}

    def __str__(self) -> str:
        gain, low, high = (round(value, 3) + 0.0 for value in (self.gain, self.low, self.high))  # no -0.000
        return (
            f"cross-view gain {gain:.3f} (95 % interval {low:.3f} to {high:.3f}, {self.samples} samples; "
            f"E true {self.true:.4f}, unrelated {self.unrelated:.4f}, absent {self.absent:.4f}; PSNR {self.psnr:.2f} dB)"
        )


def gain_samples(heldout: SceneIndex, everything: SceneIndex, config: GainConfig, size: int, patch: int) -> GainSamples:
    """Draws the samples: four views of a held-out window, centre crop, no augmentation.

    Unrelated references come from another room of the same source, or, where it has only one, from the two frames of the
    scene farthest in the order of capture from the sample (training frames allowed, those of the sample itself not).

    Args:
        heldout: the places to measure on.
        everything: all frames, for the unrelated references.
        config: see `GainConfig`.
        size: side of the images in pixels, a multiple of `patch`.
        patch: side of a patch in pixels.

    Raises:
        DataError: a scene has too few readable images, or the only scene no two beside those of a sample.
    """
    reader = FrameReader()
    policy = MaskPolicy(("random",), (config.ratio,), references=REFERENCES)
    choice = MaskChoice("random", config.ratio, REFERENCES)
    images, unrelated, masks, places = [], [], [], []
    unreadable: dict[str, None] = {}  # each message once, in order
    for number in range(config.samples):
        rng = stream(config.seed, "gain", number)
        place = heldout.draw(rng)
        order = draw_frames(rng, len(place.frames), VIEWS, config.window, 1)
        views, skipped = _read_square(reader, place, order, VIEWS, size)
        references, also_skipped = _read_square(reader, *_unrelated(rng, everything, place, order[:VIEWS]), REFERENCES, size)
        unreadable |= dict.fromkeys(skipped + also_skipped)
        images.append(views)
        unrelated.append(references)
        masks.append(policy.draw(choice, [rng], VIEWS, (size // patch, size // patch))[0])
        if config.reference_ratio:
            hidden = MaskChoice("random", config.reference_ratio, 0)
            masks[-1][:REFERENCES] = policy.draw(hidden, [rng], REFERENCES, (size // patch, size // patch))[0]
        places.append(place.name)
    return GainSamples(torch.stack(images), torch.stack(unrelated), torch.stack(masks), places, list(unreadable))


def _read_square(reader: FrameReader, place: Place, order: Sequence[int], count: int, size: int) -> tuple[Tensor, list[str]]:
    frames, unreadable = read_views(reader, place, order, count, size)
    crops = [Crop.centre(f.image.width, f.image.height, 1.0).image(f.image, size, size) for f in frames]
    return torch.from_numpy(np.stack(crops)), unreadable


def _unrelated(
    rng: np.random.Generator, everything: SceneIndex, place: Place, used: Sequence[int]
) -> tuple[Place, list[int]]:
    """A place, and its frames in the order in which to try them as unrelated references."""
    count = everything.places(place.source)
    first = int(rng.integers(count)) if count > 1 else 0
    for number in range(first, first + count):
        other = everything.place(place.source, number % count)
        if not other.scene.shows_the_same_as(place.scene):
            return other, rng.permutation(len(other.frames)).tolist()
    whole = Place(place.source, place.scene, place.scene.frames)
    own = {whole.frames.index(place.frames[number]) for number in used}
    distance = np.abs(np.arange(len(whole.frames)) - np.mean(list(own)))
    order = [number for number in np.argsort(-distance, kind="stable").tolist() if number not in own]
    if len(order) < REFERENCES:
        raise DataError(
            f"scene {place.name} has {len(whole.frames)} images and no other room is in its source: cross-view gain needs "
            f"{VIEWS} of a sample and {REFERENCES} others. Add images or scenes, or set holdout.share=0"
        )
    return whole, order


def structure(patches: Tensor) -> Tensor:
    """Patches [..., 3·p·p] without the mean of each colour channel."""
    channels = patches.unflatten(-1, (3, -1))
    return (channels - channels.mean(-1, keepdim=True)).flatten(-2)


def at_best_contrast(predicted: Tensor, target: Tensor) -> Tensor:
    """Predicted patches [..., 3·p·p] times the number, 0 or more, that brings each nearest to its target."""
    fit = (predicted * target).sum(-1, keepdim=True) / predicted.square().sum(-1, keepdim=True)
    return predicted * fit.nan_to_num(0.0).clamp(min=0)


@torch.no_grad()
def errors(
    predict: Predictor, images: Tensor, mask: Tensor, batch: int, first: int = 0, contrast: bool = True
) -> tuple[Tensor, Tensor]:
    """Structure error and raw error of every sample over the hidden patches of views `first` and up, float64 [N] each, in
    units of [-1, 1] squared. `contrast`: see `GainConfig`; raw errors are always of what was predicted."""
    per_sample: list[tuple[Tensor, Tensor]] = []
    patch = images.shape[-1] // mask.shape[-1]
    for views, hidden in zip(images.split(batch), mask.split(batch), strict=True):
        target = patchify(views.double() / 255, patch)[hidden.flatten(2)]  # [M, 3·p·p]
        predicted = predict(views, hidden).double().cpu()
        counts = hidden[:, first:].flatten(1).sum(1).tolist()
        predicted, target = (2 * patches[hidden.nonzero()[:, 1] >= first] for patches in (predicted, target))
        shape, truth = structure(predicted), structure(target)
        differences = (shape if contrast else at_best_contrast(shape, truth)) - truth, predicted - target
        per_sample += [
            (part.square().mean(), raw.square().mean())
            for part, raw in zip(*(difference.split(counts) for difference in differences), strict=True)
        ]
    return torch.stack([s for s, _ in per_sample]), torch.stack([r for _, r in per_sample])


def cross_view_gain(predict: Predictor, samples: GainSamples, batch: int = 16, seed: int = 0, contrast: bool = True) -> Gain:
    """Measures a model.

    Args:
        predict: the model, see `Predictor`.
        samples: from `gain_samples`.
        batch: samples of a forward pass.
        seed: of the bootstrap.
        contrast: see `GainConfig`.
    """
    replaced = torch.cat([samples.unrelated, samples.images[:, REFERENCES:]], dim=1)
    true, raw = errors(predict, samples.images, samples.mask, batch, REFERENCES, contrast)
    unrelated, _ = errors(predict, replaced, samples.mask, batch, REFERENCES, contrast)
    absent, _ = errors(predict, samples.images[:, REFERENCES:], samples.mask[:, REFERENCES:], batch, 0, contrast)
    table = torch.stack([true, unrelated, absent])  # [3, N]
    pick = torch.from_numpy(stream(seed, "bootstrap").integers(table.shape[1], size=(2000, table.shape[1])))
    drawn = _ratio(table[:, pick].mean(-1))  # [2000]
    low, high = drawn.quantile(torch.tensor([0.025, 0.975], dtype=drawn.dtype)).tolist()
    means = table.mean(1)
    return Gain(
        gain=float(_ratio(means)),
        low=low,
        high=high,
        true=float(means[0]),
        unrelated=float(means[1]),
        absent=float(means[2]),
        psnr=float(-10 * torch.log10(raw.mean() / 4)),
        samples=table.shape[1],
    )


def _ratio(means: Tensor) -> Tensor:
    """E of true, unrelated, absent [3, ...] -> gain [...]; 0 where nothing was there to be found."""
    control = torch.minimum(means[1], means[2])
    nothing = (control == 0) & ~means[0].isnan()
    return torch.where(nothing, 0, 1 - means[0] / control)  # NaN stays NaN
