"""Draws what models do with the same views: what they fill in, what their features tell apart, where they find points and
where they look. And the data: `data` instead of models.

    python scripts/visualize.py outputs/RUN
    python scripts/visualize.py outputs/ONE outputs/OTHER --untrained --pages fill_ins pca --samples 0 5
    python scripts/visualize.py outputs/RUN timm/vit_small_patch16_224 --images PHOTOGRAPHS --size 224
    python scripts/visualize.py data data=sevenscenes data.root=PATH plan.sizes=[224] --samples 0 1 2

Pages: `fill_ins`, of all models side by side; `masked_views`, of each model alone, with its confidence; `pca`, the
principal components of features; `tracks`, points of the first view found in the others; `attention`, of one patch over all
views. Models are runs, folders of weights, or any ViT of timm, which has no masked views and no attention between views.
Without --images, the samples are those that the first run's cross-view gain is measured on.

`data` draws samples as training gets them, and whether depth and cameras belong together (`data --help` says more); a model
in a folder of that name is `./data`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from visualizing import data, models

from muskie.errors import errors_in_words, interruptible


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line, draws, and prints the path of every page."""
    words = list(sys.argv[1:] if argv is None else argv)
    with interruptible(), errors_in_words():
        if words[:1] == ["data"]:
            paths = data.draw(data.read_words(words[1:]))
        else:
            paths = models.draw(models.build_parser(__doc__).parse_args(words))
        for path in paths:
            print(path)


if __name__ == "__main__":
    main()
