"""Steps of two models in turns: the shapes and masks that were asked for, and the ratio of what they took."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

import muskie

REPOSITORY = Path(__file__).parents[2]

MASKED = "muskie_tiny depth=1 width=24 heads=2"
LEFT_OUT = "mae_vitb depth=1 width=24 heads=2 patch_size=8 decoder.depth=1 decoder.width=16 decoder.heads=2"
SMALL = ["--size", "32", "--views", "2", "--device", "cpu"]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    return importlib.import_module("benchmark")


def test_both_are_measured(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"{LEFT_OUT} mask_ratio=0.75 references=0"
    benchmark.main(["pair", words, MASKED, *SMALL, "--rounds", "3", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["first"]["words"] == words and result["second"]["words"] == MASKED and result["images"] == 2
    counts = [
        muskie.create_model("muskie_tiny", depth=1, width=24, heads=2),
        muskie.create_model(
            "mae_vitb", depth=1, width=24, heads=2, patch_size=8, decoder={"depth": 1, "width": 16, "heads": 2}
        ),
    ]
    second, first = (sum(weight.numel() for weight in model.parameters()) for model in counts)
    assert (result["first"]["parameters"], result["second"]["parameters"]) == (first, second)
    times = [result[name]["step_s"]["median"] for name in ("first", "second")]
    assert result["ratio"] == pytest.approx(times[0] / times[1]) and len(result["ratio_of_rounds"]) == 3
    benchmark.main(["pair", words, MASKED, *SMALL, "--rounds", "1"])
    told = capsys.readouterr().out
    assert f"{first:,}" in told and f"{second:,}" in told and "first / second" in told


def test_fewer_patches_are_fewer_operations(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for ratio in (0.25, 0.75):
        benchmark.main(["pair", f"{LEFT_OUT} mask_ratio={ratio} references=0", MASKED, *SMALL, "--rounds", "1", "--json"])
        found.append(json.loads(capsys.readouterr().out)["first"]["flop"])
    assert found[1] < 0.8 * found[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the first word is the name of a model"),
        ("depth=3", "the first word is the name of a model"),
        ("muskie_tiny depth", "'depth' of 'muskie_tiny depth': expected key=value"),
        ("muskie_tiny references=some", "'references=some' of 'muskie_tiny references=some': expected a number"),
        ("muskie_tiny dept=3", "did you mean 'model.depth'"),
        ("muskie_tiny reference=1", "did you mean references?"),
        ("muskie_tinny", "did you mean 'muskie_tiny'"),
        ("muskie_tiny references=2", "--references 2: expected 0 to 1"),
    ],
)
def test_mistakes_are_told(benchmark: ModuleType, words: str, message: str) -> None:
    with pytest.raises(SystemExit) as left:
        benchmark.main(["pair", MASKED, words, *SMALL])
    assert message in str(left.value)
    with pytest.raises(SystemExit) as left:
        benchmark.main(["pair", MASKED, MASKED, *SMALL, "--rounds", "0"])
    assert "--rounds 0: expected at least 1" in str(left.value)
