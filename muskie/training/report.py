"""What a run tells people: its first lines, its last ones, and a sentence for its model card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from muskie.data.index import SceneIndex
from muskie.data.plan import StepPlan
from muskie.data.scene import SceneSource
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.training.distributed import Ranks
from muskie.training.run_folder import Start, changes
from muskie.training.settings import Settings, as_if_now, without_effect
from muskie.training.trainer_config import TrainerConfig


class Run(Protocol):
    """What a run, `muskie.training.run.Run`, must say of itself."""

    kind: Settings
    settings: dict[str, Any]
    settings_text: str
    trainer_config: TrainerConfig
    plan: StepPlan
    ranks: Ranks
    sources: list[SceneSource]
    train_index: SceneIndex
    heldout: Any
    start: Start
    state: dict[str, Any] | None
    batch: int
    steps: int
    done: int
    folder: Path | None

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    @property
    def name(self) -> str:
        """Of the model."""

    @property
    def measured(self) -> str | None:
        """What was last measured on held-out data, in a line."""

    @property
    def notes(self) -> Sequence[str]:
        """Lines for people, after the first."""

    @property
    def unreadable(self) -> list[str]:
        """Messages of held-out images that were left out."""

    loader: str
    """What loads its weights, in Python."""

    other_data: str
    """What to append for data other than rendered rooms; "and another output_dir" may follow."""

    def warmup_steps(self) -> int:
        """Optimiser steps in which the learning rate rises."""


def introduction(run: Run) -> Iterator[str]:
    """The first lines: where the run starts from, what has changed since, what it is."""
    yield f"{run.start.reason}; run folder {run.folder}"
    yield from run.notes
    if changed := changed_settings(run):
        yield f"settings changed since the checkpoint: {', '.join(changed)}"
    anew = "choose another output_dir" if run.start.in_own_folder else "leave resume= out"
    if any(line.startswith("data.") for line in changed):
        yield f"warning: goes on with other data than the checkpoint's; to begin anew on them, {anew}"
    if any(line.startswith("holdout.") for line in changed) and run.settings["holdout"].share:
        yield f"warning: holds out other data than before, some of which may have been trained on; to begin anew, {anew}"
    if seen := run.heldout.seen_before:
        yield (
            f"warning: the weights that this run starts from were trained on {seen}, which it calls held out; "
            f"hold the same out, or measure on other data"
        )
    if run.unreadable:
        what = _plural(len(run.unreadable), "unreadable image")
        yield f"left out of the measure: {what}, the first: {run.unreadable[0]}"
    if all(isinstance(source, SyntheticRooms) for source in run.sources):
        again = "" if run.settings["output_dir"] is None and run.state is None else " and another output_dir"
        yield f"note: trains on rendered rooms; {run.other_data}{again}"
    for line in without_effect(run.settings["trainer"], run.settings["optim"]):
        yield f"note: {line}"
    warmup, config = run.warmup_steps(), run.trainer_config
    if warmup >= run.steps:
        yield f"warning: the warm-up takes {warmup} steps and the run has {run.steps}: the peak rate is not reached"
    for source in run.sources:
        if source.problems:
            what = _plural(len(source.problems), "part")
            yield f"warning: {source.label}: {what} could not be listed, the first: {source.problems[0]}"
        if bare := [name for name in source.bare if name != "."]:
            yield f"note: {source.label}: {_plural(len(bare), 'folder')} without pictures, e.g. {bare[0]}"
    parameters = sum(p.numel() for p in run.model.parameters())
    sources = ", ".join(_described(source, run.train_index) for source in run.sources)
    groups = config.accumulate * run.ranks.world
    what = f"{run.batch * groups} scenes x {run.plan.views} views"
    if run.plan.frames is not None:
        what = f"{run.batch * groups} images in scenes of {run.plan.counts[0]} to {run.plan.counts[-1]} views"
    yield (
        f"{run.name}: {parameters:,} parameters on {run.ranks.world} x {run.ranks.device}; "
        f"data: {sources}; steps {run.done} to {run.steps} of {what} at "
        f"{'+'.join(map(str, run.plan.sizes))} px"
    )


def changed_settings(run: Run) -> list[str]:
    """What differs between the settings of the checkpoint and those of now, such as `"trainer.steps 500 -> 1000"`."""
    return changes(as_if_now(run.state["settings"], run.kind), run.settings_text) if run.state else []


def _described(source: SceneSource, index: SceneIndex) -> str:
    short = next(count for count, known in zip(index.short, index.sources, strict=True) if known is source)
    parts = [_plural(index.places(source), "scene"), _plural(index.images(source), "image")]
    if source.left_out:
        parts.append(f"{source.left_out} with fewer than {source.min_images} images left out")
    if short:
        parts.append(f"{short} with fewer than {index.needs[index.part]} images left out")
    if len(index.sources) > 1 and source.weight != 1:
        parts.append(f"weight {source.weight:g}")
    if source.single:
        parts.append("for single views")
    return f"{source.label} ({', '.join(parts)})"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def result(run: Run) -> str:
    """A sentence on what was trained and what came of it, in Markdown.

    Of a run that was finished before and is asked for with other settings, those are not told.
    """
    data = "" if changed_settings(run) else f" on {', '.join(source.name for source in run.sources)}"
    gain = f" Held out: {run.measured.removeprefix('held out, ')}." if run.measured else ""
    steps = max(run.steps, run.done)  # a run that was stopped later than it is asked for now
    return f"`{run.name}`, {steps} steps{data}.{gain}"


def already_finished(run: Run) -> str:
    """The line of a run that has nothing left to train. It is no error: jobs are submitted again by the same command."""
    path, own = run.start.checkpoint, run.start.in_own_folder
    state = f"already finished at step {run.done} of {run.steps}"
    if run.done > run.steps:
        state = f"nothing to train: {run.done} steps are done, {run.steps} are asked for"
    unused = [key for key in ("resume", "init_from") if run.settings[key] not in (None, "", "auto")]
    note = f"; {' and '.join(unused)} not used, for a run's own folder comes first" if unused and own else ""
    anew = "choose another output_dir" if own else f"leave resume= out, with init_from={path} for its weights alone"
    changed = changed_settings(run)
    others = f"\nwarning: its settings were others, and these were not used: {', '.join(changed)}" if changed else ""
    tables = ""
    if _has_tables(run) and own and run.folder and not tables_at_end(run.folder, run.done).is_dir():
        tables = f"\nwarning: no tables were written at its end; to make them now: python scripts/evaluate.py {run.folder}"
    train_on = "To train on, raise trainer.steps (or trainer.epochs)"
    return f"{state} ({path}{note}). {train_on}; to train anew, {anew}{tables}{others}"


def _has_tables(run: Run) -> bool:
    """Whether suites are run at the end."""
    return bool(getattr(run.settings["evaluation"], "at_end", False))


def tables_at_end(folder: Path, steps: int) -> Path:
    """Where the tables of `evaluation.at_end` are."""
    return folder / "evaluation" / f"step-{steps:08d}"


def stopped(run: Run) -> str:
    """The last line of a run that a signal has ended."""
    same = "" if run.settings["output_dir"] else f" and output_dir={run.folder}"
    return f"stopped early; continue with the same command{same}"


def summary(run: Run) -> str:
    """The last lines of a run that came to its end."""
    assert run.folder is not None
    tensorboard = run.settings["log_dir"] or run.folder / "tensorboard"
    written = _has_tables(run) and tables_at_end(run.folder, run.steps).is_dir()
    tables = [f"  tables       {run.folder / 'evaluation'}"] if written else []
    return "\n".join(
        [
            "",
            f"  {run.measured or 'no held-out data, so nothing was measured'}",
            f"  run folder   {run.folder}",
            f"  pictures     {run.folder / 'pictures'}",
            *tables,
            *([f"  cloud        {cloud}"] if (cloud := run.folder / "reconstruction").is_dir() else []),
            f"  weights      {run.loader}({str(run.folder / 'model')!r})",
            f"  TensorBoard  tensorboard --logdir {tensorboard}",
        ]
    )
