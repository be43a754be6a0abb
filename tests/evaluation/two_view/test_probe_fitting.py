"""Fitting probes: what is trained on, what is chosen on, and that neither is the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import DataError
from muskie.evaluation.two_view import probe_fitting
from muskie.evaluation.two_view.dense_matching import DenseMatchingConfig, ProbeKey, evaluate_dense_matching
from muskie.evaluation.two_view.linear_probe import ProbeGrid
from muskie.evaluation.two_view.probe_fitting import ProbePairs, fit_probes, split_pairs
from muskie.evaluation.views.posed_views import posed_batches
from muskie.evaluation.views.view_sets import ViewSet

SIZE = (24, 24)
CONFIG = DenseMatchingConfig(
    rates=[1e-3, 3e-2], decays=[1e-3, 5e-1], steps=12, step_pairs=4, checks=3, scale=None, bins=(), clip=1.0
)


class Watched(SceneSource):
    """Rendered rooms that remember which frames were read."""

    name = "watched"

    def __init__(self, scenes: int, frames: int = 12) -> None:
        self.rooms = SyntheticRooms(scenes=scenes, frames=frames, image_size=SIZE)
        self.seen: set[str] = set()

    def __len__(self) -> int:
        return len(self.rooms)

    def scene(self, index: int) -> Scene:
        return self.rooms.scene(index)

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        self.seen.add(scene.name)
        return self.rooms.read(scene, frame, at_least=at_least, geometry=geometry)

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self.rooms.camera(scene, frame)


class Colours:
    """Patches of 4 pixels, as they are: a model of one layer."""

    patch_size = 4

    def get_intermediate_layers(
        self, images: Tensor, n: int | Sequence[int] = 1, reshape: bool = False, norm: bool = True
    ) -> tuple[Tensor, ...]:
        patches = torch.nn.functional.pixel_unshuffle(images.flatten(0, 1).float() / 255, 4)
        return (patches.unflatten(0, images.shape[:2]),)


BACKBONE = FrozenBackbone("colours", Colours(), 1)
KEY = ProbeKey("colours", 0)


def pairs_of(source: SceneSource, scenes: Sequence[int], distance: int = 2) -> list[ViewSet]:
    found = []
    for number in scenes:
        scene = source.scene(number)
        starts = range(0, len(scene.frames) - distance, 2)
        found += [ViewSet(source, scene, (scene.frames[n], scene.frames[n + distance])) for n in starts]
    return found


def frames_of(sets: Sequence[ViewSet]) -> set[tuple[str, str]]:
    return {(views.scene.name, frame) for views in sets for frame in views.frames}


def test_whole_rooms_are_kept_for_the_choice() -> None:
    sets = pairs_of(Watched(10), range(10))
    training, validation = split_pairs(sets, 0.3)
    assert len({s.group for s in validation}) == 3 and len({s.group for s in training}) == 7
    assert not {s.group for s in validation} & {s.group for s in training}
    assert len(training) + len(validation) == len(sets)
    assert split_pairs(sets, 0.3) == (training, validation)
    assert split_pairs(sets, 0.3, seed=1)[1] != validation
    for share, kept in ((0.01, 1), (0.99, 9)):
        assert len({s.group for s in split_pairs(sets, share)[1]}) == kept


def test_in_one_room_no_frame_is_on_both_sides() -> None:
    sets = pairs_of(Watched(1, frames=30), [0], distance=4)
    training, validation = split_pairs(sets[::-1], 0.25)
    assert len(validation) == round(0.25 * len(sets)) and set(validation) == set(sets[-len(validation) :])
    assert frames_of(sets[: -len(validation)]) & frames_of(validation)  # so that some pairs had to go
    assert not frames_of(training) & frames_of(validation) and len(training) > len(sets) / 2


def test_too_few_pairs_to_split() -> None:
    sets = pairs_of(Watched(1), [0])
    with pytest.raises(DataError, match="1 pairs of one room cannot be split"):
        split_pairs(sets[:1], 0.1)


def fitted(source: SceneSource, config: DenseMatchingConfig = CONFIG) -> ProbePairs:
    return ProbePairs(pairs_of(source, [0, 1, 2]), pairs_of(source, [3, 4]), SIZE)


def test_the_best_on_the_validation_split_is_chosen_and_no_test_frame_is_read() -> None:
    """Every setting is trained alone, and measured on the validation pairs as a test would: the choice is the best one."""
    source, errors = Watched(8), {}
    config, pairs = replace(CONFIG, checks=1), fitted(source)
    chosen = fit_probes([BACKBONE], pairs, config)[KEY]
    assert source.seen == {source.scene(number).name for number in range(5)}  # the test rooms 5, 6, 7 are not
    for rate in CONFIG.rates:
        for decay in CONFIG.decays:
            alone = fit_probes([BACKBONE], pairs, replace(config, rates=[rate], decays=[decay]))
            batches = posed_batches(pairs.validation, SIZE, 2)
            groups = [views.group for views in pairs.validation]
            rows = evaluate_dense_matching([BACKBONE], batches, groups, config, False, alone).rows("", "")
            errors[rate, decay] = next(r.value for r in rows if r.readout == "probe" and r.metric == "EPE (px)")
            assert alone[KEY].error == pytest.approx(errors[rate, decay], rel=1e-4)
    assert (chosen.rate, chosen.decay) == min(errors, key=lambda setting: errors[setting])
    assert chosen.error == pytest.approx(min(errors.values()), rel=1e-4)
    assert max(errors.values()) > 1.01 * min(errors.values())


def test_the_best_of_all_checks_is_kept_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([[9.0, 5.0, 9.0, 9.0], [9.0, 9.0, 4.0, 9.0], [6.0, 9.0, 4.5, 9.0]])
    then: list[Tensor] = []

    def measured(
        backbones: object, grids: dict[ProbeKey, ProbeGrid], batches: object, config: object
    ) -> dict[ProbeKey, Tensor]:
        then.append(grids[KEY].weights[2].detach().clone())
        return {KEY: torch.tensor(next(said))}

    monkeypatch.setattr(probe_fitting, "validation_errors", measured)
    chosen = fit_probes([BACKBONE], fitted(Watched(5)), CONFIG)[KEY]
    assert (chosen.step, chosen.rate, chosen.decay, chosen.error) == (8, 3e-2, 1e-3, 4.0)
    assert torch.equal(chosen.weight, then[1]) and not torch.equal(chosen.weight, then[2])


def test_fits_are_repeated_by_the_seed_and_judged_by_the_validation_pairs() -> None:
    source = Watched(5)
    pairs = fitted(source)
    one = fit_probes([BACKBONE], pairs, CONFIG)[KEY]
    other = fit_probes([BACKBONE], replace(pairs, validation=pairs.validation[:2]), CONFIG)[KEY]
    assert one.error != other.error
    again = fit_probes([BACKBONE], pairs, CONFIG)[KEY]
    assert torch.equal(again.weight, one.weight) and again.error == one.error
    reseeded = fit_probes([BACKBONE], pairs, replace(CONFIG, seed=1))[KEY]
    assert not torch.equal(reseeded.weight, one.weight)


def test_backbones_do_not_change_each_other() -> None:
    pairs = fitted(Watched(5))
    double = FrozenBackbone("double", Colours(), 1)
    both = fit_probes([double, BACKBONE], pairs, CONFIG)
    assert set(both) == {KEY, ProbeKey("double", 0)}
    assert torch.equal(both[KEY].weight, fit_probes([BACKBONE], pairs, CONFIG)[KEY].weight)


def test_a_probe_that_diverges_is_not_chosen() -> None:
    pairs = fitted(Watched(5))
    config = replace(CONFIG, rates=[1e30, 1e-3], decays=[0.9])
    chosen = fit_probes([BACKBONE], pairs, config)[KEY]
    assert chosen.rate == 1e-3 and chosen.weight.isfinite().all()


def test_validation_pairs_must_overlap() -> None:
    source = Watched(5)
    pairs = fitted(source)
    impossible = replace(CONFIG, tolerance=1e-12)
    with pytest.raises(DataError, match="no pixel of the validation pairs"):
        fit_probes([BACKBONE], pairs, impossible)
