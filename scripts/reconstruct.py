"""Photographs or a video to cameras and points, by a fine-tuned model.

    python scripts/reconstruct.py PHOTOGRAPHS --model outputs/RUN --out DIR
    python scripts/reconstruct.py clip.mp4 --model outputs/RUN --out DIR --limit 24 --shared-camera

Writes scene.glb (points and cameras), points.ply, COLMAP's sparse/0, cameras.json, depth and confidence as images, and a
contact sheet.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from muskie.errors import errors_in_words, interruptible
from muskie.paths import typed_path
from muskie.reconstruction.confidence import PERCENTILE
from muskie.reconstruction.export import FORMATS, check_output, export
from muskie.reconstruction.reconstruct import reconstruct


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("input", nargs="+", help="a folder of photographs, photographs, a text file of their paths, or a video")
    add("--model", required=True, help="a fine-tuning run, the folder of a reconstruction model, or its name on the hub")
    add("--out", required=True, help="folder of the result; new or empty")
    add("--overwrite", action="store_true", help="--out may hold an earlier result, which is replaced")
    add("--size", type=int, help="long side of the views in pixels; as the run trained at, else 512")
    add("--every", type=int, default=1, help="take each n-th picture or frame")
    add("--limit", type=int, help="take at most so many, spread evenly; of a video 32")
    add("--fit", default="crop", choices=("crop", "pad"), help="pictures of another shape: cut to the middle, or padded")
    add("--formats", nargs="+", default=list(FORMATS), choices=FORMATS, help="what is written; all by default")
    add("--confidence", type=float, default=PERCENTILE, metavar="PERCENT", help="leave out so many of the least sure points")
    add("--shared-camera", action="store_true", help="one focal length for all views")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--precision", default="auto", help="auto, fp32, bf16, fp16")
    add("--chunk", type=int, help="frames that the dense heads take at a time; fewer take less memory")
    return parser


def run(argv: Sequence[str]) -> None:
    """Reconstructs, writes, and tells what was written."""
    given = parser().parse_args(argv)
    out = typed_path(given.out, "--out")
    check_output(out, given.overwrite)  # before anything takes time
    source = given.input[0] if len(given.input) == 1 else given.input
    result = reconstruct(
        source, given.model, given.size, every=given.every, limit=given.limit, fit=given.fit, device=given.device,
        precision=given.precision, chunk=given.chunk, shared_camera=given.shared_camera, progress=True,
    )  # fmt: skip
    for note in result.notes:
        print(f"note: {note}")
    title = Path(str(source)).name if isinstance(source, str) else f"{len(result)} photographs"
    files = export(
        result, out, formats=given.formats, overwrite=given.overwrite, confidence_percentile=given.confidence, title=title
    )
    height, width = result.size
    print(
        f"{len(result)} views of {width} x {height} px; {len(files)} files in {out}, "
        f"the first to open: {out / 'contact_sheet.png'}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    with interruptible(), errors_in_words():
        run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
