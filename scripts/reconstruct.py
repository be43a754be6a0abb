"""Photographs or a video to cameras and points, by a fine-tuned model.

    python scripts/reconstruct.py PHOTOGRAPHS --model outputs/RUN --out DIR
    python scripts/reconstruct.py clip.mp4 --model outputs/RUN --out DIR --limit 24 --shared-camera

Writes scene.glb (points and cameras), points.ply, COLMAP's sparse/0, cameras.json, depth and confidence as images, and a
contact sheet.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from muskie.errors import errors_in_words, interruptible
from muskie.paths import typed_path
from muskie.reconstruction.confidence import EDGE, PERCENTILE, check_filters
from muskie.reconstruction.export import FORMATS, check_output, export
from muskie.reconstruction.export.colmap import RESOLUTIONS
from muskie.reconstruction.export.folder import CAMERAS
from muskie.reconstruction.export.places import check_places
from muskie.reconstruction.names import printable
from muskie.reconstruction.reconstruct import reconstruct


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("input", nargs="+", help="a folder of photographs, photographs, a text file of their paths, or a video")
    told = "a fine-tuning run, the folder of a reconstruction model, or its name on the hub; the newest run of outputs/"
    add("--model", default="auto", help=told)
    add("--out", required=True, help="folder of the result; new or empty")
    add("--overwrite", action="store_true", help="--out may hold an earlier result, which is replaced")
    add("--size", type=int, help="long side of the views in pixels; as the model was trained at, else 512")
    add("--every", type=int, default=1, help="take each n-th picture or frame")
    add("--limit", type=int, help="take at most so many, spread evenly; of a video 32")
    add("--fit", default="crop", choices=("crop", "pad"), help="pictures of another shape: cut to the middle, or padded")
    add("--formats", nargs="+", default=list(FORMATS), choices=FORMATS, help="what is written; all by default")
    add(
        "--confidence",
        type=float,
        default=PERCENTILE,
        metavar="PERCENT",
        help=f"leave out the least sure points ({PERCENTILE:g})",
    )
    add(
        "--edge",
        type=float,
        default=EDGE,
        metavar="DEGREES",
        help=f"leave out edges of depth; 0: none ({EDGE:g})",
    )
    add(
        "--colmap",
        default="original",
        choices=RESOLUTIONS,
        help="pixels of COLMAP's cameras: original (upright), or processed",
    )
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
    check_places(out, given.formats, given.colmap)
    check_filters(given.confidence, given.edge)
    source = given.input[0] if len(given.input) == 1 else given.input
    result = reconstruct(
        source, given.model, given.size, every=given.every, limit=given.limit, fit=given.fit, device=given.device,
        precision=given.precision, chunk=given.chunk, shared_camera=given.shared_camera, progress=True,
    )  # fmt: skip
    title = Path(str(source)).name if isinstance(source, str) else f"{len(result)} photographs"
    files = export(
        result, out, formats=given.formats, overwrite=given.overwrite, confidence_percentile=given.confidence,
        edge=given.edge, colmap_resolution=given.colmap, title=title,
    )  # fmt: skip
    for note in json.loads((out / CAMERAS).read_text())["notes"]:
        print(f"note: {printable(note)}")
    height, width = result.size
    first = next(name for name in ("contact_sheet.png", "scene.glb", "points.ply", CAMERAS) if out / name in files)
    count = f"{len(result)} view{'s' if len(result) > 1 else ''}"
    print(f"{count} of {width} x {height} px; {len(files)} files in {out}, the first to open: {out / first}")


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    with interruptible(), errors_in_words():
        run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
