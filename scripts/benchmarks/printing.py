"""How results are printed, and what they were measured on."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

FORM = argparse.ArgumentDefaultsHelpFormatter
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def processor() -> str:
    """The name of the CPU."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def row(name: str, value: object) -> None:
    """A line of a table."""
    print(f"  {name:<28} {value}")


def milliseconds(seconds: dict[str, float]) -> str:
    """Seconds `{median, fastest, slowest}` as text."""
    return "{median:.1f} ms ({fastest:.1f} to {slowest:.1f})".format(**{k: 1e3 * v for k, v in seconds.items()})
