"""What loading data costs, beside the plain way of doing it, and what an index of many scenes costs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import corpus
from benchmarks.plain_loading import plain_image, plain_sample, write_pictures
from benchmarks.printing import FORM, row
from muskie.errors import ConfigError

SIZES, VIEWS = (224, 384, 512), 8
PARTS = ("images", "recipe", "index", "corpus", "reprojection")


def add_command(commands: Any) -> None:
    """`data` on the command line."""
    data = commands.add_parser("data", help="loading and indexing, beside the plain way", formatter_class=FORM)
    data.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="what to measure")
    data.add_argument(
        "--photographs", type=Path, help="folder of photographs to make the JPEGs of; rendered rooms otherwise"
    )
    data.add_argument("--quality", type=int, default=90, help="of the JPEGs")
    data.add_argument("--pictures", type=int, default=8, help="different JPEGs")
    data.add_argument("--rounds", type=int, default=5, help="of each way, in turn")
    data.add_argument("--scenes", type=int, default=10_000, help="of the index, of 300 frames each")
    data.add_argument("--frames", type=int, default=30_000, help="of the corpus that is written as files and as shards")
    data.add_argument("--sevenscenes", type=Path, help="root of 7-Scenes, for the re-projection error of real depth")
    data.add_argument("--json", action="store_true", help="print one line of JSON")
    data.set_defaults(run=measure, show=show)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All parts that are asked for."""
    import torch

    torch.set_num_threads(1)
    if min(arguments.pictures, arguments.rounds, arguments.scenes, arguments.frames) < 1:
        raise ConfigError("--pictures, --rounds, --scenes and --frames: expected at least 1")
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if {"images", "recipe"} & set(arguments.parts):
            files = write_pictures(Path(folder), arguments.photographs, arguments.pictures, arguments.quality)
            size = float(np.mean([file.stat().st_size for file in files]))
            content = "photographs" if arguments.photographs else "rendered rooms"
            result["jpegs"] = {"content": content, "quality": arguments.quality, "kilobytes": size / 1e3}
            if "images" in arguments.parts:
                result["images"] = [_images(files, size, arguments.rounds) for size in SIZES]
            if "recipe" in arguments.parts:
                result["recipe"] = _recipe(files, arguments.rounds)
    if "index" in arguments.parts:
        command = [sys.executable, "-m", "benchmarks.large_index", str(arguments.scenes)]
        done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
        if done.returncode:
            raise ConfigError(f"the index could not be measured: {done.stderr[-500:]}")
        result["index"] = json.loads(done.stdout)
    if "corpus" in arguments.parts:
        with tempfile.TemporaryDirectory() as folder:
            result["corpus"] = corpus.measure(Path(folder), arguments.frames)
    if "reprojection" in arguments.parts and arguments.sevenscenes is not None:
        result["reprojection"] = _reprojection(arguments.sevenscenes)
    return result


def _in_turns(ways: dict[str, Callable[[], Any]], rounds: int, images: int) -> dict[str, Any]:
    """Seconds for one image of each way, the median of some rounds taken in turns, and the ratios of the rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append((time.perf_counter() - started) / images)
    seconds = {name: values[1:] for name, values in seconds.items()}  # the first round fills caches
    ratios = sorted(plain / ours for plain, ours in zip(seconds["plain"], seconds["ours"], strict=True))
    medians = {f"{name}_s": float(np.median(values)) for name, values in seconds.items()}
    return {**medians, "ratio": ratios[len(ratios) // 2], "slowest_ratio": ratios[0], "fastest_ratio": ratios[-1]}


def _images(files: list[Path], size: int, rounds: int) -> dict[str, Any]:
    """A random crop of each file at one size."""
    from muskie.data.augmentation import Augmentation
    from muskie.data.images import open_image

    augmentation = Augmentation()
    rng = np.random.default_rng(0)

    def ours() -> None:
        for file in files:
            image = open_image(file, round(size / augmentation.min_area**0.5))
            augmentation.draw(rng, image.width / image.height, 1.0).image(image, size, size)

    def plain() -> None:
        for file in files:
            plain_image(file, size)

    return {"size": size, **_in_turns({"plain": plain, "ours": ours}, rounds, len(files))}


def _recipe(files: list[Path], rounds: int) -> dict[str, Any]:
    """A sample of the published recipe: views at each of three sizes, of a scene of 300 frames."""
    from muskie.data.augmentation import Augmentation
    from muskie.data.dataset import ViewDataset
    from muskie.data.index import SceneIndex
    from muskie.data.plan import StepPlan
    from muskie.data.requests import Request
    from muskie.data.sources.folder import ImageFolders

    root = files[0].parent / "scenes"
    scene = root / "scene"
    scene.mkdir(parents=True)
    for number in range(300):
        (scene / f"{number:06d}.jpg").hardlink_to(files[number % len(files)])
    plan = StepPlan(patch_size=16, steps=1000, sizes=SIZES, views=VIEWS, views_per_scene=[VIEWS])
    dataset = ViewDataset(SceneIndex([ImageFolders(root)], "all"), plan, Augmentation())
    load = iter(range(1000))
    rng = np.random.default_rng(0)

    def ours() -> None:
        number = next(load)
        for group in range(len(SIZES)):
            _ = dataset[Request(number, group, 0)]

    return _in_turns({"plain": lambda: plain_sample(scene, SIZES, VIEWS, rng), "ours": ours}, rounds, 1)


def _reprojection(root: Path) -> dict[str, Any]:
    """Of pairs of frames of real depth, after the loader's crop and resize, as they are and with their poses inverted, as a
    loader would read them that takes world-to-camera for camera-to-world."""
    import torch

    from muskie.data.crops import Crop
    from muskie.data.round_trip import round_trip
    from muskie.data.sources.sevenscenes import SevenScenes
    from muskie.geometry import reproject

    source = SevenScenes(root)
    scene = source.scene(0)

    def view(name: str, invert: bool) -> list[torch.Tensor]:
        frame = source.read(scene, name, geometry=True)
        _, depth, camera = Crop.centre(*frame.size, 1.0).frame(frame, 224, 224)
        assert depth is not None and camera is not None
        pose = np.linalg.inv(camera.cam2world) if invert else camera.cam2world
        return [torch.from_numpy(part) for part in (depth.astype(np.float64), camera.intrinsics, pose)]

    rows = []
    for distance in (1, 5, 20, 60):
        found: dict[str, Any] = {"distance": distance}
        for kind, invert in (("", False), ("_inverted", True)):
            pixels, depths = [], []
            for first in range(0, len(scene.frames) - distance, 20):
                pair = (*view(scene.frames[first], invert), *view(scene.frames[first + distance], invert))
                pixels.append(round_trip(*pair))
                there = reproject(pair[0], pair[1], pair[2], pair[3], pair[4], pair[5])
                known = there.inside & (there.measured > 0)
                depths.append(((there.depth - there.measured).abs() / there.measured)[known])
            found |= {"pairs": len(pixels), f"px{kind}": _median(pixels), f"depth{kind}": _median(depths)}
        rows.append(found)
    return {"scene": scene.name, "size": 224, "rows": rows}


def _median(parts: list[Any]) -> float:
    import torch

    return float(torch.cat(parts).median())


def show(result: dict[str, Any]) -> None:
    """Prints what `measure` found, for people."""
    if "jpegs" in result:
        print("JPEGs of 1920 x 1440, {content}, quality {quality}, {kilobytes:.0f} kB each".format(**result["jpegs"]))
    for found in result.get("images", []):
        row(f"to {found['size']} px, images/s", _beside(found, 1))
    if "recipe" in result:
        row("8 views at 224, 384, 512", f"{_beside(result['recipe'], 1)} samples/s")
    if "index" in result:
        index = result["index"]
        print(f"index of {index['scenes']:,} scenes, {index['frames']:,} frames, {index['megabytes']:.0f} MB on disk")
        row("opened in", f"{1e3 * index['open_s']:.0f} ms")
        row("in a worker, beyond the map", f"{index['worker_megabytes']:.1f} MB")
        row("a sample's frames drawn in", f"{1e3 * index['draw_s']:.3f} ms")
        row("listed in", f"{index['list_s']:.1f} s")
    if "corpus" in result:
        _show_corpus(result["corpus"])
    for found in result.get("reprojection", {}).get("rows", []):
        name = f"{result['reprojection']['scene']}, {found['distance']} frames on"
        right, wrong = (f"{found[f'px{k}']:.3f} px, depth {found[f'depth{k}']:.1%}" for k in ("", "_inverted"))
        row(name, f"{right}; with inverted poses {wrong} ({found['pairs']} pairs)")


def _show_corpus(found: dict[str, Any]) -> None:
    print("{frames:,} frames of {file_kilobytes:.0f} kB, as files and as shards".format(**found))
    row("listed in, a frame", f"{found['list_us_a_frame']:.1f} us; opened again in {1e3 * found['open_s']:.0f} ms")
    row("index, a frame", f"{found['index_bytes_a_frame']:.1f} bytes")
    row("packed in, a frame", f"{found['pack_us_a_frame']:.0f} us; {found['tar_overhead']:.1%} more bytes than the files")
    row("shards opened in", f"{1e3 * found['open_shards_s']:.0f} ms")
    print(f"extrapolated to {corpus.GOAL:,} frames, by multiplication")
    for what, files, shards in corpus.extrapolated(found):
        row(what, f"{files:<32}{shards}")


def _beside(found: dict[str, Any], count: int) -> str:
    plain, ours = count / found["plain_s"], count / found["ours_s"]
    spread = f"{found['slowest_ratio']:.1f} to {found['fastest_ratio']:.1f}"
    return f"{ours:.2f}, plain {plain:.2f}: {found['ratio']:.2f} times ({spread})"
