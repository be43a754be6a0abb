"""The settings of `scripts/evaluate.py`: the composed configuration, checked; what is left open is taken from a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from muskie.config import Sections
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import build_sources
from muskie.errors import ConfigError, DataError
from muskie.evaluation.correspondence import CorrespondenceConfig
from muskie.evaluation.geometry.depth_metrics import DepthConfig
from muskie.evaluation.geometry.pointmap_metrics import PointMapConfig
from muskie.evaluation.geometry.trajectory import TrajectoryConfig
from muskie.evaluation.material import Material
from muskie.evaluation.output import make_out, out_problems
from muskie.evaluation.suite_registry import GEOMETRY
from muskie.evaluation.suites import find_suite
from muskie.evaluation.trained_on import TrainedFrames, choose_part, runs_among
from muskie.evaluation.two_view.pose import poselib_or_error
from muskie.evaluation.two_view.probe3d import Probe3DConfig
from muskie.evaluation.two_view.relative_pose import RelativePoseConfig
from muskie.evaluation.two_view_suites import DenseMatchingSuite
from muskie.evaluation.views.list_files import check_new, write_list
from muskie.evaluation.views.pair_choice import PairChoice
from muskie.evaluation.views.view_sets import ViewChoice
from muskie.history import of_backbone
from muskie.models.named import label_of
from muskie.paths import typed_path

ROOT = {
    "backbone": Any,
    "suite": list[str] | str,
    "untrained": bool,
    "floors": bool,
    "part": str | None,
    "size": list[int] | int | None,
    "crop": str,
    "batch": int,
    "workers": int,
    "device": str,
    "precision": str,
    "seed": int,
    "out": str | None,
    "freeze": str | None,
}
"""Keys outside of sections."""

SECTIONS = Sections(
    fixed={
        "holdout": HoldOut,
        "views": ViewChoice,
        "pairs": PairChoice,
        "correspondence": CorrespondenceConfig,
        "dense_matching": DenseMatchingSuite,
        "probe3d": Probe3DConfig,
        "relative_pose": RelativePoseConfig,
        "pointmap": PointMapConfig,
        "depth": DepthConfig,
        "trajectory": TrajectoryConfig,
    },
    arguments={},
    open=("data",),
)

SIDE = 224
"""Side of the pictures in pixels where neither the settings nor a run says."""


class EvaluationSettings:
    """What is asked for, checked before anything is loaded.

    Args:
        config: composed by Hydra from `configs/evaluate.yaml`.
        typed: the keys that somebody typed, with their sections; a protocol's do not count against a list of samples, which
            takes their place. None: all that are in the sections.

    Raises:
        ConfigError: all settings that are unknown, mistyped or out of range; or no backbone is named.
    """

    def __init__(self, config: DictConfig, typed: Collection[str] | None = None) -> None:
        if missing := sorted(OmegaConf.missing_keys(config)):
            raise ConfigError(f"{', '.join(missing)} must be given, e.g. {missing[0]}=PATH")
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        self.plain = {str(key): value for key, value in plain.items()}
        self.values = SECTIONS.build({k: v for k, v in self.plain.items() if k not in ("protocol",)}, ROOT)
        given = self.values["backbone"]
        self.backbones = list(given) if isinstance(given, list | tuple) else [given] if given else []
        if not self.backbones and not self.values["freeze"]:
            raise ConfigError("no backbone is named; give a run, the name of a model, or timm/NAME")
        names = [spec.get("name") if isinstance(spec, Mapping) else spec for spec in self.backbones]
        self.runs = runs_among([str(name) for name in names if name])
        self.run = self.runs[0] if self.runs else None
        suites = self.values["suite"]
        self.suites = [find_suite(name) for name in ([suites] if isinstance(suites, str) else suites)]
        self.resolved: dict[str, Any] = {}
        self._typed = typed
        self._check()

    def _check(self) -> None:
        problems = [f"{n}={self.values[n]}: expected at least {k}" for n, k in (("batch", 1), ("workers", 0), ("seed", 0))
                    if self.values[n] < k]  # fmt: skip
        if not self.suites:
            problems.append("suite=[] names none; give one or more, e.g. suite=[correspondence]")
        size = self.size
        if len(size) != 2 or min(size) < 8:
            problems.append(f"size={self.values['size']}: expected a side in pixels or [height, width], at least 8")
        if self.values["part"] not in (None, "heldout", "train", "all"):
            problems.append(f"part={self.values['part']!r}: expected heldout, train, all, or null")
        problems += [] if self.values["freeze"] else out_problems(self.values["out"], self._above)
        kinds = {suite.takes for suite in self.suites}
        if len(kinds) > 1:
            told = "; ".join(f"{k}: {', '.join(s.name for s in self.suites if s.takes == k)}" for k in sorted(kinds))
            problems.append(
                f"suite: some measure features of backbones, others reconstruction models; one kind a call ({told})"
            )
        if (data := self.values["data"]) and not {"_target_", "sources"} & set(data):
            told = ", ".join(f"data.{name}" for name in data)
            problems.append(f"{told}: settings of no data set; name it too, e.g. data=sevenscenes data.root=PATH")
        used = self._used
        problems += [
            f"{one.section}.list={one.list!r}: no suite of {', '.join(suite.name for suite in self.suites)} looks at it; "
            f"{' and '.join(f'{name}.list=' for name in sorted(used)) or 'none of them'} takes their samples"
            for one in self._choices
            if one.list is not None and one.section not in used
        ]
        if problems:
            raise ConfigError("\n".join(problems))
        for choice in self._choices:
            choice.check_given(name for name in self._given(choice.section) if name in vars(choice))
        if self.values["freeze"]:
            self._frozen_choice()
            check_new(typed_path(self.values["freeze"], "freeze"))
        if "relative_pose" in [suite.name for suite in self.suites]:
            poselib_or_error()  # before other suites have taken their time

    def _given(self, section: str) -> list[str]:
        """The settings of a section that count as typed."""
        names = list(self.plain.get(section) or {})
        if self._typed is None or section in self._typed:
            return names
        return [name for name in names if f"{section}.{name}" in self._typed]

    @property
    def size(self) -> tuple[int, ...]:
        """H and W of the pictures."""
        size = self.values["size"]
        if size is None:
            size = self.run.side if self.run else SIDE
        return (size, size) if isinstance(size, int) else tuple(size)

    @property
    def _choices(self) -> tuple[ViewChoice, PairChoice]:
        return self.values["views"], self.values["pairs"]

    @property
    def _used(self) -> set[str]:
        """The sections that choose the samples of the suites."""
        return {suite.section for suite in self.suites if suite.section}

    @property
    def _above(self) -> Path:
        """Where results get a new folder, if none is named."""
        return self.run.folder / "evaluation" if self.run else Path("evaluations")

    def make_out(self) -> Path:
        """Makes the folder of the results: a new one where none is named, of the first run if there is one.

        Raises:
            ConfigError: it cannot be written.
        """
        return make_out(self.values["out"], self._above)

    @property
    def measures_geometry(self) -> bool:
        """Whether reconstruction models are measured, and not backbones."""
        return self.suites[0].takes == GEOMETRY

    def suite_config(self, name: str) -> Any:
        """The settings of a suite: its section, or the defaults of one from outside."""
        return self.values.get(name) or find_suite(name).config()

    def material(self, progress: bool = False) -> Material:
        """The data.

        Raises:
            ConfigError, DataError: it cannot be used.
        """
        given = self.values["data"], self.plain.get("holdout") or {}, self.values["part"]
        data, holdout, part = choose_part(*given, self.runs)
        data = data or {"_target_": "muskie.data.sources.synthetic.SyntheticRooms"}
        sources = [source for source in build_sources(dict(data)) if not source.single]
        if part == "heldout" and not holdout.share:
            raise DataError(f"{self.run.folder if self.run else 'holdout.share=0'} held nothing out; take part=all")
        self.resolved = {"data": data, "holdout": asdict(holdout), "part": part, "size": list(self.size)}
        self.resolved |= self._lists()
        height, width = self.size
        return Material(
            index=SceneIndex(sources, part, holdout),
            train=SceneIndex(sources, "train", holdout) if part == "heldout" else None,
            size=(height, width),
            views=self.values["views"],
            pairs=self.values["pairs"],
            crop=self.values["crop"],
            batch=self.values["batch"],
            workers=self.values["workers"],
            floors=self.values["floors"],
            seed=self.values["seed"],
            progress=progress,
            trained=self._trained(),
            refuse=True,
        )

    def _lists(self) -> dict[str, Any]:
        """The lists of samples that are used, with their hashes, for the results."""
        found = {choice.section: choice.listed for choice in self._choices if choice.list is not None}
        return {f"{name}.list": {"file": str(one.file), "sha256": one.sha256} for name, one in found.items()}

    def _frozen_choice(self) -> ViewChoice:
        """How the samples that `freeze` writes are chosen.

        Raises:
            ConfigError: suites look at single sets of views and at pairs, or at neither; or they are frozen already.
        """
        if len(self._used) != 1:
            told = ", ".join(f"{suite.name}: {suite.needs or 'no samples'}" for suite in self.suites)
            raise ConfigError(f"freeze writes views or pairs, and the suites need not one of them ({told}); name others")
        choice: ViewChoice = self.values[self._used.pop()]
        if choice.list is not None:
            raise ConfigError(f"{choice.section}.list={choice.list!r} is frozen already; leave it out, or freeze")
        return choice

    def freeze(self, material: Material) -> Path:
        """Writes the samples of the suites to the file of `freeze`; gives it.

        Raises:
            ConfigError: the file cannot be written.
            DataError: there are no samples.
        """
        file = typed_path(self.values["freeze"], "freeze")
        sets = [suite.choose(material) for suite in self.suites if suite.needs]  # of them all: each has needs of its own
        write_list(file, sets[0], self._frozen_choice().plain())
        return file

    def _trained(self) -> dict[str, TrainedFrames]:
        """What the backbones with weights were trained on, by the names of the tables."""
        found = {}
        for spec in self.backbones:
            given = spec if isinstance(spec, Mapping) else {"name": spec}
            name = str(given.get("name") or "")
            if name and (past := of_backbone(given)):
                found[str(given.get("label") or label_of(name))] = TrainedFrames(past)
        return found
