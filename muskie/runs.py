"""The runs of the working folder, newest first: what `auto` means where a model is asked for."""

from __future__ import annotations

import json
from pathlib import Path

from muskie.models.model_kind import kind_of

OUTPUTS = Path("outputs")
"""Where runs lie that were given no `output_dir`."""


def newest_run(kind: str) -> Path | None:
    """The run of `outputs/` whose model was saved last, of those that have ended with a model of this kind.

    Args:
        kind: `MASKED_VIEWS` or `RECONSTRUCTION` of `muskie.models.model_kind`.
    """
    found = []
    for config in OUTPUTS.glob("*/model/config.json"):
        try:
            of = kind_of(json.loads(config.read_text()))
        except (OSError, ValueError):  # being written, or broken: told to whoever names it
            continue
        if of == kind:
            found.append((config.stat().st_mtime, config.parent.parent))
    return max(found)[1] if found else None
