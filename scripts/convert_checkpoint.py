"""Published weights of Muskie, MuM, CroCo v2 or MAE to a folder of ours.

    python scripts/convert_checkpoint.py muskie-base.pth checkpoints/muskie_base
    python scripts/convert_checkpoint.py ffrecon/checkpoint-59.pth checkpoints/ffrecon_large
    python scripts/convert_checkpoint.py MuM_ViTLarge.pth checkpoints/mum_large
    python scripts/convert_checkpoint.py CroCo_V2_ViTLarge_BaseDecoder.pth checkpoints/croco_large
    python scripts/convert_checkpoint.py mae_visualize_vit_large.pth checkpoints/mae_large

Pre-training checkpoints become what `muskie.from_pretrained` reads, fine-tuned ones of Muskie (ffrecon: points and cameras)
what `muskie.load_reconstruction_model` reads; which one a file is, is told by the names of its weights. Prints what became
of every key, and fails without writing anything if one is missing, unexpected or of another shape. The file is read safely:
nothing in it is executed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from muskie.errors import ConfigError, errors_in_words
from muskie.models import convert, convert_frames, convert_recon
from muskie.models.frame_layouts import Untold
from muskie.models.masked_view import MaskedViewModel
from muskie.models.published_file import FINETUNED, OTHERS, published_kind, read_checkpoint
from muskie.models.reconstruction import ReconstructionModel


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", type=Path, help="a published .pth, of pre-training or of fine-tuning")
    add("out", type=Path, help="folder for model.safetensors and config.json")
    add("--heads", type=int, help="attention heads, for sizes that were not published")
    add("--decoder-heads", type=int, help="those of the decoder of MuM, CroCo v2 or MAE")
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
        help="exact RoPE; default: Muskie's angles rounded to fp16, as when the published weights were trained; MuM's as "
        "--rope-in says",
    )
    add(
        "--rope-in",
        choices=("float32", "bfloat16", "float16"),
        help="type of the RoPE table of MuM's or CroCo v2's encoder; default: as the published code loads the file, which "
        "is bfloat16 for MuM's encoder alone",
    )
    add(
        "--eps",
        type=float,
        help="epsilon of the layer norms of MuM, CroCo v2 or MAE; default: as the published code loads the file, which is "
        "1e-5 for MuM's encoder alone (MuM was trained with 1e-5) and else 1e-6",
    )
    add("--overwrite", action="store_true", help="write into a folder that holds files")
    return parser


def run(given: argparse.Namespace) -> None:
    """Reads, says what it is, converts, reports and writes."""
    convert.check_folder(given.out, given.overwrite)
    weights, beside = read_checkpoint(given.checkpoint)
    kind = published_kind(weights, given.checkpoint)
    _check_flags(given, kind)
    print(f"{given.checkpoint}: a {kind} checkpoint of {len(weights)} weights")
    model: MaskedViewModel | ReconstructionModel
    report: convert.Report
    loader, source = "muskie.from_pretrained", "Muskie (arXiv 2511.18115)"
    if kind == FINETUNED:
        model, report = convert_recon.convert(weights, given.heads, given.hooks, given.exact_rope)
        loader = "muskie.load_reconstruction_model"
    elif kind in OTHERS:
        rope_in = "float32" if given.exact_rope else given.rope_in
        untold = Untold(given.heads, given.decoder_heads, given.eps, rope_in)
        model, report = convert_frames.convert(kind, weights, untold, beside)
        source = convert_frames.SOURCES[kind]
    else:
        model, report = convert.convert(weights, given.heads, given.exact_rope)
    print(report)
    report.check(given.checkpoint)
    convert.write(model, given.out, given.checkpoint.name, source)
    print(f"written to {given.out}; load it by {loader}({str(given.out)!r})")


def _check_flags(given: argparse.Namespace, kind: str) -> None:
    """Refuses flags of other kinds of checkpoints."""
    what = f"{given.checkpoint} is a {kind} checkpoint"
    if given.hooks is not None and kind != FINETUNED:
        raise ConfigError(f"--hooks {given.hooks}: {what}, which has no dense heads")
    for flag, value in (("--decoder-heads", given.decoder_heads), ("--rope-in", given.rope_in), ("--eps", given.eps)):
        if value is not None and kind not in OTHERS:
            raise ConfigError(f"{flag} {value}: {what}, and this is for those of {', '.join(OTHERS)}")
    if given.exact_rope and given.rope_in not in (None, "float32"):
        raise ConfigError(f"--exact-rope, --rope-in {given.rope_in}: give one of them")


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line and converts."""
    given = parser().parse_args(argv)
    with errors_in_words():
        run(given)


if __name__ == "__main__":
    main()
