"""The errors a user can mend. Entry points print their message alone, without a traceback."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class MuskieError(Exception):
    """Something the user gave cannot be used; the message names it, its value, what is allowed and the way out."""


class ConfigError(MuskieError, ValueError):
    """A setting is unknown, of the wrong type, out of range, or at odds with another one."""


class DataError(MuskieError, RuntimeError):
    """A data root, scene or image cannot be used."""


class CheckpointError(MuskieError, RuntimeError):
    """A checkpoint is broken, foreign, or does not fit the model."""


def did_you_mean(word: str, allowed: Iterable[str], section: str = "", cutoff: float = 0.5) -> str:
    """`"; did you mean 'trainer.steps'?"`: the one or two of `allowed` that are nearest to `word`, at least `cutoff` alike
    (0 to 1); `""` if none is. Keys of a `section` are named in full, so that they can be typed.
    """
    close = difflib.get_close_matches(word, sorted(allowed), n=2, cutoff=cutoff)
    full = [f"{section}.{option}" if section else option for option in close]
    return f"; did you mean {' or '.join(map(repr, full))}?" if full else ""


def nearest(word: str, allowed: Iterable[str], section: str = "") -> str:
    """The end of an error message about an unknown `word`: the nearest allowed ones, then all of them.

    Example: `"; did you mean 'trainer.steps'? Allowed in trainer: 'batch_size', 'steps'"`.
    """
    options = sorted(allowed)
    hint = did_you_mean(word, options, section) or "."
    return f"{hint} Allowed{f' in {section}' if section else ''}: {', '.join(map(repr, options))}"


@contextmanager
def errors_in_words() -> Iterator[None]:
    """For entry points: a `MuskieError` ends the program with its message and status 1, without a traceback."""
    try:
        yield
    except MuskieError as error:
        sys.exit(f"error: {error}")


@contextmanager
def interruptible() -> Iterator[None]:
    """For scripts: Ctrl-C ends the program with a word and status 130, without a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
