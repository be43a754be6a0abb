"""Published Muskie weights to a folder that `muskie.from_pretrained` reads.

    python scripts/convert_checkpoint.py muskie-base.pth checkpoints/muskie_base

Prints what became of every key, and fails without writing anything if one is missing, unexpected or of another shape.
The file is read safely: nothing in it is executed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from muskie.errors import errors_in_words
from muskie.models.convert import check_folder, convert, read_published, write


def main() -> None:
    """Reads the command line and converts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a published .pth")
    parser.add_argument("out", type=Path, help="folder for model.safetensors and config.json")
    parser.add_argument("--heads", type=int, help="attention heads, for sizes that were not published")
    parser.add_argument(
        "--exact-rope",
        action="store_true",
        help="exact RoPE angles; default: rounded to fp16, as when the published weights were trained",
    )
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that holds files")
    arguments = parser.parse_args()
    with errors_in_words():
        check_folder(arguments.out, arguments.overwrite)
        model, report = convert(read_published(arguments.checkpoint), arguments.heads, arguments.exact_rope)
        print(report)
        report.check(arguments.checkpoint)
        write(model, arguments.out, arguments.checkpoint.name)
        print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
