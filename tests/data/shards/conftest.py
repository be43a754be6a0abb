"""Rendered rooms and small training runs, which other tests have too."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("data", "training"):
    if (path := str(Path(__file__).parents[2] / folder)) not in sys.path:
        sys.path.append(path)
