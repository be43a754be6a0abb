"""Makes the helpers beside this file, and those that write data sets in their layouts, importable from the folders below,
which mirror the package's."""

from __future__ import annotations

import sys
from pathlib import Path

LAYOUTS = str(Path(__file__).resolve().parents[1] / "data")
if LAYOUTS not in sys.path:
    sys.path.append(LAYOUTS)
