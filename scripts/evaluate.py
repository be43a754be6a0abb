"""Measures frozen backbones side by side: one command, one table.

    python scripts/evaluate.py outputs/RUN
    python scripts/evaluate.py outputs/ONE outputs/OTHER timm/vit_small_patch16_224 suite=[correspondence,relative_pose]
    python scripts/evaluate.py outputs/RUN data=sevenscenes data.root=PATH size=128 views.distance=8
    python scripts/evaluate.py outputs/FINETUNED suite=[pose,pointmap,depth] views.list=FILE
    python scripts/evaluate.py freeze=FILE protocol=co3d_vggt data.root=PATH

Words without "=" are backbones: runs, folders of weights, names of our models (untrained), or any ViT of timm. The rest
are Hydra overrides of configs/evaluate.yaml. Data, hold-out and size are those of the first run, where nothing is said; a
protocol names its data set, and data.root where that lies.
Writes results.json, results.csv and results.md, and prints the tables; with freeze=FILE it writes the samples alone, for
views.list=FILE.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from muskie.backbones.load import load_backbones
from muskie.config import defaults
from muskie.errors import ConfigError, errors_in_words, interruptible
from muskie.evaluation.geometry.reconstructors import load_reconstructors
from muskie.evaluation.results import Table, write_results
from muskie.evaluation.settings import SECTIONS, EvaluationSettings
from muskie.override_words import read_spec
from muskie.overrides import compose_config, read_overrides, split_flags
from muskie.training.distributed import choose_device
from muskie.training.trainer_config import TrainerConfig

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def read_settings(words: Sequence[str]) -> EvaluationSettings:
    """The settings from a command line."""
    flags, typed = split_flags(words)
    named = [word for word in typed if is_backbone(word)]
    typed = [word for word in typed if word not in named]
    if flags:
        raise ConfigError(f"{flags[0]}: unknown; this script takes backbones and key=value (--help says more)")
    overrides = read_overrides(typed, CONFIGS, "evaluate", SECTIONS.names())
    config = compose_config(CONFIGS, "evaluate", overrides)
    if named:
        also = OmegaConf.to_container(config.backbone) if OmegaConf.is_config(config.backbone) else config.backbone
        config.backbone = [*map(read_spec, named), *(also if isinstance(also, list) else [also] if also else [])]
    return EvaluationSettings(config, {word.split("=")[0].lstrip("+") for word in typed})


def is_backbone(word: str) -> bool:
    """Whether a word names a backbone, and is no override."""
    return Path(word).exists() or word.startswith(("{", "~/")) or ("=" not in word and not word.startswith(("+", "~")))


def backbones(settings: EvaluationSettings) -> list[Any]:
    """What is measured; trained ones are followed by themselves before training."""
    device = choose_device(settings.values["device"])
    dtype = TrainerConfig(precision=settings.values["precision"]).autocast_dtype(device)
    found: list[Any] = []
    load = load_reconstructors if settings.measures_geometry else load_backbones
    for backbone in load(settings.backbones, device, dtype):
        fresh = backbone.before_training() if settings.values["untrained"] else None
        found += [backbone, *([fresh] if fresh else [])]
    return found


def evaluate(words: Sequence[str]) -> list[Table]:
    """Measures, writes, and gives the tables; of a command that freezes samples, none."""
    settings = read_settings(words)
    material = settings.material(progress=True)
    if settings.values["freeze"]:
        print(f"frozen: {settings.freeze(material)}")
        return []
    models = backbones(settings)
    for suite in settings.suites:
        suite.prepare(material, settings.suite_config(suite.name))  # what cannot be had is told before anything is measured
    out = settings.make_out()
    tables: list[Table] = []
    done = {**settings.plain, **settings.resolved, "device": str(models[0].device), "dtype": str(models[0].dtype or "fp32")}
    for suite in settings.suites:
        tables.append(suite.run(models, material, settings.suite_config(suite.name)))
        write_results(out, tables, done)  # after each: a later one may fail
    print("\n".join(table.short() for table in tables))
    print(f"all columns: {out}/results.md, .csv, .json")
    return tables


def section_settings() -> str:
    """The keys of every section with their defaults; the docstring of the class that is named says what they mean."""
    lines = ["# The sections in full:"]
    for section, known in SECTIONS.fixed.items():
        lines.append(f"{section}: # {known.__module__}.{known.__qualname__}")
        lines += [f"  {key}: {'null' if value is None else value}" for key, value in defaults(known).items()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    words = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(words):
        print(f"{__doc__}\n{(CONFIGS / 'evaluate.yaml').read_text()}\n{section_settings()}")
        return
    with interruptible(), errors_in_words():
        evaluate(words)


if __name__ == "__main__":
    main()
