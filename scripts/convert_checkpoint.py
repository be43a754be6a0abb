"""Published Muskie weights to a folder of ours.

    python scripts/convert_checkpoint.py muskie-base.pth checkpoints/muskie_base
    python scripts/convert_checkpoint.py ffrecon/checkpoint-59.pth checkpoints/ffrecon_large

Pre-training checkpoints become what `muskie.from_pretrained` reads, fine-tuned ones (ffrecon: points and cameras) what
`muskie.load_reconstruction_model` reads; which one a file is, is told by the names of its weights. Prints what became of
every key, and fails without writing anything if one is missing, unexpected or of another shape. The file is read safely:
nothing in it is executed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from muskie.errors import ConfigError, errors_in_words
from muskie.models import convert, convert_recon
from muskie.models.masked_view import MaskedViewModel
from muskie.models.published_file import FINETUNED, published_kind, read_weights
from muskie.models.reconstruction import ReconstructionModel


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", type=Path, help="a published .pth, of pre-training or of fine-tuning")
    add("out", type=Path, help="folder for model.safetensors and config.json")
    add("--heads", type=int, help="attention heads, for sizes that were not published")
    add(
        "--hooks",
        type=int,
        nargs="+",
        metavar="LAYER",
        help="four layers that the dense heads of a fine-tuned checkpoint read, where they are not the published ones",
    )
    add(
        "--exact-rope",
        action="store_true",
        help="exact RoPE angles; default: rounded to fp16, as when the published weights were trained",
    )
    add("--overwrite", action="store_true", help="write into a folder that holds files")
    return parser


def run(given: argparse.Namespace) -> None:
    """Reads, says what it is, converts, reports and writes."""
    convert.check_folder(given.out, given.overwrite)
    weights = read_weights(given.checkpoint)
    kind = published_kind(weights, given.checkpoint)
    print(f"{given.checkpoint}: a {kind} checkpoint of {len(weights)} weights")
    model: MaskedViewModel | ReconstructionModel
    report: convert.Report
    if kind == FINETUNED:
        model, report = convert_recon.convert(weights, given.heads, given.hooks, given.exact_rope)
        loader = "muskie.load_reconstruction_model"
    elif given.hooks is None:
        model, report = convert.convert(weights, given.heads, given.exact_rope)
        loader = "muskie.from_pretrained"
    else:
        raise ConfigError(f"--hooks {given.hooks}: {given.checkpoint} is a {kind} checkpoint, which has no dense heads")
    print(report)
    report.check(given.checkpoint)
    convert.write(model, given.out, given.checkpoint.name)
    print(f"written to {given.out}; load it by {loader}({str(given.out)!r})")


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line and converts."""
    given = parser().parse_args(argv)
    with errors_in_words():
        run(given)


if __name__ == "__main__":
    main()
