"""What a run leaves behind: metrics as JSON lines, TensorBoard, pictures; a progress bar on a terminal, lines elsewhere."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm


class Telemetry:
    """Writes to the folder of a run; with `folder=None` (all ranks but the first) it does nothing.

    Args:
        folder: of the run.
        steps: of the whole run, for the progress bar.
        start: steps already done; later lines of `metrics.jsonl`, left by a run that was killed, are dropped.
        tensorboard: where TensorBoard's files go; None: `folder/tensorboard`.
    """

    def __init__(self, folder: Path | None, steps: int, start: int = 0, tensorboard: Path | None = None) -> None:
        self.folder = folder
        self._steps = steps
        self._bar: tqdm | None = None
        if folder is None:
            return
        self._metrics = folder / "metrics.jsonl"
        self._drop_lines_after(start)
        self._writer = SummaryWriter(str(tensorboard or folder / "tensorboard"), purge_step=start + 1)
        if sys.stderr.isatty():
            self._bar = tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True, smoothing=0.05)

    def _drop_lines_after(self, start: int) -> None:
        if not self._metrics.exists():
            return
        kept = []
        for line in self._metrics.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= start:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue  # the last line of a killed run may be cut off
        # Beside, then renamed: a run killed here has lost nothing.
        beside = self._metrics.with_suffix(".part")
        beside.write_text("".join(kept))
        beside.replace(self._metrics)

    def say(self, message: str) -> None:
        """A line for people."""
        if self._bar is not None:
            self._bar.write(message, file=sys.stderr)
        elif self.folder is not None:
            print(message, file=sys.stderr, flush=True)

    def scalars(self, step: int, values: Mapping[str, float], show: bool = False) -> None:
        """Records scalars of step `step`; `show` also prints a line where there is no progress bar."""
        if self.folder is None:
            return
        # JSON knows no NaN and no infinity: they become null.
        rounded = {key: float(f"{value:.7g}") if math.isfinite(value) else None for key, value in values.items()}
        with self._metrics.open("a") as file:
            file.write(json.dumps({"step": step, **rounded}, allow_nan=False) + "\n")
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)
        if show and self._bar is None:
            parts = "  ".join(f"{key.partition('/')[2] or key} {value:.4g}" for key, value in values.items())
            self.say(f"step {step}/{self._steps}  {parts}")

    def progress(self, step: int, values: Mapping[str, float] | None = None) -> None:
        """Moves the bar to `step`, and shows these values behind it."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)
            if values:
                self._bar.set_postfix_str("  ".join(f"{key} {value:.4g}" for key, value in values.items()))

    def picture(self, step: int, name: str, pixels: Tensor) -> Path | None:
        """Writes uint8 [3, H, W] to `pictures/<name>-<step>.png` and to TensorBoard."""
        if self.folder is None:
            return None
        path = self.folder / "pictures" / f"{name}-{step:08d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(path)
        self._writer.add_image(name, pixels, step)
        return path

    def close(self) -> None:
        """Flushes everything."""
        if self.folder is not None:
            self._writer.close()
            if self._bar is not None:
                self._bar.close()
