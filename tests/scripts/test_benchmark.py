"""The benchmark: its count of operations is the truth, its step is the trainer's, and it says what it measured."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from muskie.data.dataset import Views
from muskie.models.flops import training_calls
from muskie.models.masked_view import MaskedViewModel
from muskie.models.recon_load import create_reconstruction_model
from muskie.models.variants import create_model
from muskie.objectives.loss import Loss
from muskie.timing import in_turns
from muskie.training.distributed import Ranks
from muskie.training.measure import BareCalls, SquareProduct
from muskie.training.memory import keep_freed_memory, peak_resident_bytes, resident_bytes, step_bytes
from muskie.training.optim import OptimConfig
from muskie.training.random_step import StepSetting, TrainingStep
from muskie.training.run_plan import RunPlan
from muskie.training.tasks import MaskedViews
from muskie.training.telemetry import Telemetry
from muskie.training.trainer import Trainer
from muskie.training.trainer_config import TrainerConfig

REPOSITORY = Path(__file__).parents[2]
CPU = torch.device("cpu")
MIB = 2**20


def tiny_step(*sizes: int, **settings: Any) -> TrainingStep:
    return TrainingStep(StepSetting("muskie_tiny", sizes, **{"views": 3, "device": "cpu", **settings}))


def counted(function: Callable[[], Any]) -> tuple[int, Any]:
    """Operations as torch counts them, with every product of the attention its own call, and the function's result."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        result = function()
    return counter.get_total_flops(), result


# Operations


@pytest.mark.parametrize("decoder", [{}, {"depth": 2, "width": 64, "heads": 2, "mlp_ratio": 3.0}], ids=["linear", "decoder"])
@pytest.mark.parametrize(("scenes", "views", "height", "width"), [(1, 4, 32, 32), (2, 3, 24, 40), (3, 1, 16, 16)])
def test_formulas_count_what_torch_counts(decoder: dict[str, Any], scenes: int, views: int, height: int, width: int) -> None:
    model = create_model("muskie_tiny", depth=2, decoder=decoder)
    images = torch.rand(scenes, views, 3, height, width)
    mask = torch.rand(scenes, views, height // 8, width // 8) < 0.6
    check_formulas(model, images, mask)


def check_formulas(model: MaskedViewModel, images: Tensor, mask: Tensor) -> None:
    calls = training_calls(model, mask)
    forward, prediction = counted(lambda: model(images, mask, hidden_only=True))
    assert sum(call.forward for call in calls) == forward
    loss = prediction.pixels.sum() + prediction.confidence.sum()
    backward, _ = counted(loss.backward)
    assert sum(call.backward for call in calls) == backward


@pytest.mark.parametrize("name", ["mum_vitb16", "croco_v2_vitb", "mae_vitb"])
@pytest.mark.parametrize("hidden", [[9, 9, 9], [0, 9, 0, 8], [7]], ids=str)
def test_formulas_of_other_methods_too(name: str, hidden: list[int]) -> None:
    """Of visible patches alone; and a view that has no whole one beside it asks itself."""
    decoder = {"depth": 2, "width": 64, "heads": 2, "mlp_ratio": 3.0}
    model = create_model(name, depth=2, width=48, heads=3, patch_size=8, decoder=decoder)
    mask = torch.zeros(2, len(hidden), 12, dtype=torch.bool)
    for view, count in enumerate(hidden):
        mask[0, view, :count] = mask[1, view, 12 - count :] = True
    check_formulas(model, torch.rand(2, len(hidden), 3, 24, 32), mask.view(2, -1, 3, 4))


def test_formulas_of_a_decoder_that_is_asked_by_all_views() -> None:
    """Cross-attention after an encoder that leaves nothing out: no view is whole, so all views ask all."""
    decoder = {"kind": "cross", "depth": 2, "width": 64, "heads": 2}
    model = create_model("muskie_tiny", depth=1, decoder=decoder)
    check_formulas(model, torch.rand(2, 3, 3, 16, 24), torch.rand(2, 3, 2, 3) < 0.6)


def test_bare_calls_do_the_operations_of_a_step() -> None:
    step = tiny_step(32, 64)
    operations = sum(call.forward + call.backward for call in step.calls)
    assert counted(step)[0] == operations
    assert counted(BareCalls(step.calls, CPU, torch.float32))[0] == operations


def test_the_square_product_counts_itself() -> None:
    square = SquareProduct(CPU, torch.float32)
    assert counted(square)[0] == square.flop


# The step


class SameBatches:
    """A task whose batches are those of a step."""

    def __init__(self, step: TrainingStep) -> None:
        self.model, self.objective, self.batches = create_model("muskie_tiny"), step.objective, iter(step.batches)

    def prepare(self, loaded: Views, step: int, group: int) -> MaskedViews:
        images, mask = next(self.batches)
        return MaskedViews(images, mask, ["nowhere"], ["none"])

    def images(self, batch: MaskedViews) -> int:
        return batch.images.shape[0] * batch.images.shape[1]

    def loss(self, model: torch.nn.Module, batch: MaskedViews, device: torch.device) -> Loss:
        prediction = model(batch.images, batch.mask, hidden_only=True)
        target = self.model.targets(batch.images, prediction.hidden)
        return self.objective(prediction.pixels, prediction.confidence, target, prediction.hidden, batch.mask)

    def pictures(self, batch: MaskedViews, device: torch.device) -> dict[str, Tensor]:
        return {}


def test_a_step_is_the_trainers(tmp_path: Path) -> None:
    step = tiny_step(32, 16)
    task = SameBatches(step)
    ranks, telemetry = Ranks(0, 1, CPU), Telemetry(None, 1, 0, None)
    optim = OptimConfig(lr=1e-3)
    trainer = Trainer(task, TrainerConfig(batch_size=1), optim, RunPlan(1, 0, sizes=2), ranks, tmp_path, telemetry)  # type: ignore[arg-type]
    before = {name: weight.clone() for name, weight in step.model.state_dict().items()}
    trainer.fit([Views(torch.empty(0), [0], ["nowhere"], ["none"], Counter(), []) for _ in range(2)])
    step()
    trained = task.model.state_dict()
    for name, weight in step.model.state_dict().items():
        torch.testing.assert_close(weight, trained[name], msg=name)
        assert not torch.equal(weight, before[name]), name


def test_it_starts_where_torch_does_and_little_else() -> None:
    """On a machine for measurements there may be neither Hydra nor torchvision."""
    code = (
        "import sys, muskie.training.measure, muskie.training.memory; "
        "print(*{'hydra', 'omegaconf', 'pydantic', 'torchvision', 'PIL', 'tensorboard'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == ""


# Memory and time


def test_the_memory_of_a_step_is_its_peak() -> None:
    def step() -> None:
        first = torch.empty(3 * MIB, dtype=torch.uint8)
        del first
        second = torch.empty(2 * MIB, dtype=torch.uint8)
        third = torch.empty(2 * MIB, dtype=torch.uint8)
        del second, third

    assert step_bytes(step, CPU) == 4 * MIB
    assert 0 < resident_bytes() <= 1.01 * peak_resident_bytes()
    assert keep_freed_memory() == sys.platform.startswith("linux")


def test_memory_peaks_at_the_largest_size_and_checkpointing_lowers_it() -> None:
    def peak(*sizes: int, **settings: Any) -> int:
        step = tiny_step(*sizes, views=4, **settings)
        step()
        return step_bytes(step, CPU)

    alone = peak(64)
    assert peak(32, 48, 64) <= 1.1 * alone
    assert peak(64, checkpointing=True) < 0.9 * alone


def test_parts_take_turns() -> None:
    order: list[str] = []
    times = in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, CPU, least=0)
    assert order == ["a", "a", "b", "b", *"ababab"], "each is called once unmeasured and once to see how long it takes"
    assert all(len(values) == 3 and all(seconds.wall >= 0 for seconds in values) for values in times.values())


# The command line


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs `benchmark.py` with these words."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    script = importlib.import_module("benchmark")
    return lambda words: script.main(words.split())


STEP = "step --model muskie_tiny --views 2 --device cpu --threads 1"


def test_step_prints_what_it_measured(benchmark: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    benchmark(f"{STEP} --size 32 64 --steps 1 --json")
    result = json.loads(capsys.readouterr().out)
    assert result["setting"]["sizes"] == [32, 64] and result["setting"]["references"] == 1 and result["threads"] == 1
    assert (result["images"], result["tokens"]) == (4, 2 * (4 + 16) + 2 * (4 + 64))
    assert result["hidden_patches"] == 14 + 58  # 0.9 of the second view
    assert result["flop"] == pytest.approx(3 * result["forward_flop"], rel=0.05)
    assert result["overhead"] == pytest.approx(result["step_s"]["median"] / result["bare_s"]["median"])
    assert result["mfu"] == pytest.approx(result["flop_per_s"] / result["matmul_flop_per_s"])
    assert len(result["overhead_of_rounds"]) == 1 and result["images_per_s"] > 0 and result["tokens_per_s"] > 0
    memory = result["memory_bytes"]
    assert memory["optimizer"] == pytest.approx(2 * memory["weights"], rel=0.01)
    assert memory["peak"] > memory["step"] > memory["weights"]


def test_step_prints_a_table(benchmark: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    benchmark(f"{STEP} --size 32 --steps 1 --precision bf16 --checkpointing --mask-ratio 0.5 --references 0")
    printed = capsys.readouterr().out
    assert "muskie_tiny, 1 x 2 views at 32 px, bf16, checkpointing" in printed
    for name in ("step", "bare calls", "overhead", "images/s", "tokens/s", "operations", "MFU", "memory: peak"):
        assert f"\n  {name}" in printed
    benchmark(f"{STEP} --size 32 --steps 0")
    printed = capsys.readouterr().out
    assert "overhead" not in printed and "memory: step" in printed


def test_loader_prints_what_it_measured(
    benchmark: Callable[[str], None], capsys: pytest.CaptureFixture[str], image_root: Path
) -> None:
    loader = "plan.sizes=[16,24] trainer.batch_size=2 trainer.workers=0"
    benchmark(f"loader data=folder data.root={image_root} {loader} --loads 2 --json")
    result = json.loads(capsys.readouterr().out)
    assert (result["sizes"], result["views"], result["batch_size"], result["workers"]) == ([16, 24], 4, 2, 0)
    assert result["images_per_s"] > 0 and result["first_load_s"] > 0 and result["unreadable_images"] == 0
    pixels = (16**2 + 24**2) / 2
    assert result["megapixels_per_s"] == pytest.approx(result["images_per_s"] * pixels / 1e6)
    benchmark("loader plan.sizes=[16] trainer.batch_size=1 trainer.workers=0 --loads 1")
    printed = capsys.readouterr().out
    assert "synthetic, 1 x 4 views at 16 px, workers: 0" in printed and "images/s" in printed


def test_reconstruct_has_a_process_for_each_number_of_views(
    benchmark: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """What each takes is its own: the process of three views, which comes last, does not count what the largest took."""
    benchmark("reconstruct --views 32 3 --size 64 --device cpu --precision fp32 --chunk 2 --threads 1 --json")
    result = json.loads(capsys.readouterr().out)
    assert result["setting"] == {"model": "muskie_tiny", "size": 64, "chunk": 2, "precision": "fp32"}
    few, many = result["rows"]
    assert (few["views"], many["views"], result["against"], result["threads"]) == (3, 32, 3, 1)
    assert (few["of_peak"], few["of_grown"], few["of_seconds"]) == (1, 1, 1)
    assert many["of_grown"] == pytest.approx(many["grown"] / few["grown"])
    points = 4 * 32 * 64**2 * 4
    assert many["peak"] > many["grown"] > points, "the results alone take this much"
    assert few["grown"] < many["grown"], "peaks hold what was there before, too, which is not the same in every process"
    weights = sum(p.nbytes for p in create_reconstruction_model("muskie_tiny").parameters())
    assert many["taken"] - many["grown"] == pytest.approx(weights + 32 * 3 * 64**2, rel=1e-3)


def test_reconstruct_by_a_fine_tuned_model_prints_a_table(
    benchmark: Callable[[str], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    small = {"name": "muskie_tiny", "width": 24, "depth": 2, "heads": 2}
    create_reconstruction_model(small, decoder_depth=0, features=8).save_pretrained(tmp_path / "model")
    benchmark(f"reconstruct --model {tmp_path} --views 1 2 --size 32 --device cpu")
    header, machine, names, *rows = capsys.readouterr().out.splitlines()
    assert header == f"{tmp_path} at 32 px, auto" and "torch" in machine
    assert names.split()[:7] == ["views", "seconds", "of", "1", "peak", "GB", "of"]
    assert [row.split()[0] for row in rows] == ["1", "2"] and all(len(row.split()) == 9 for row in rows)


MISTAKES = {
    "step --model muskie_tinny": "did you mean 'muskie_tiny'",
    "step --model muskie_tiny --size 20": "--size 20 is no multiple of the patch size 8 of muskie_tiny; try 16",
    "step --size 0": "--size 0: expected at least 1",
    "step --views 0": "--views 0: expected at least 1",
    "step --batch -1": "--batch -1: expected at least 1",
    "step --steps -1": "--steps -1: expected 0 or more",
    "step --threads 0": "--threads 0: expected at least 1",
    "step --mask-ratio 1": "--mask-ratio 1.0: expected a share in (0, 1)",
    "step --views 4 --references 4": "--references 4: expected 0 to 3, fewer than --views",
    "step --device tpu": "--device='tpu' is no device",
    "step --device cpu --precision fp16": "--precision=fp16 needs a CUDA device",
    "reconstruct --views 0": "--views 0: expected at least 1",
    "reconstruct --chunk 0": "--chunk 0: expected at least 1",
    "reconstruct --threads 0": "--threads 0: expected at least 1",
    "reconstruct --here --size 20": "--size 20 is no multiple of the patch size 8; try 16",
    "reconstruct --views 1 --size 20": "--views 1: --size 20 is no multiple",
    "reconstruct --here --model muskie_tny": "did you mean 'muskie_tiny'",
    "reconstruct --here --views 9999999 --device cpu": "9,999,999 views of 224 x 224 px take about",
    "loader --loads 0": "--loads 0: expected at least 1",
    "loader trainer.wrokers=2": "trainer.wrokers is unknown; did you mean 'trainer.workers'",
    "loader data=folder": "data.root must be given",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_errors_in_words(benchmark: Callable[[str], None], words: str) -> None:
    with pytest.raises(SystemExit) as left:
        benchmark(words)
    assert str(left.value).startswith("error: ") and MISTAKES[words] in str(left.value)
