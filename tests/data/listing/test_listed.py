"""An index is made once and used again, made anew when what it was made of has changed, and never in the way."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from muskie.data.listing import listed, table_file
from muskie.data.listing.kept import ANEW, index_file, looking_anew
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Frame, Scene, SceneSource
from muskie.data.sources.folder import ImageFolders
from muskie.errors import DataError

OLD = 10**9
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one for each test."""
    monkeypatch.setenv("MUSKIE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a/0.png", "a/1.png", "b/deep/0.png", "c/0.png"):
        put(tmp_path / "data" / name)
    age(tmp_path / "data")
    return tmp_path / "data"


def put(file: Path) -> None:
    """A file that is listed; nobody opens it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")


def age(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            os.utime(path, (OLD, OLD))


def scenes(source: SceneSource) -> dict[str, list[str]]:
    return {scene.name: list(scene.frames) for scene in map(source.scene, range(len(source)))}


WHOLE = {"a": ["0.png", "1.png"], "b/deep": ["0.png"], "c": ["0.png"]}


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts that are looked at from here on."""
    parts: list[str] = []
    look = ImageFolders.scenes_in

    def remember(self: ImageFolders, part: str) -> Sequence[Scene]:
        parts.append(part)
        return look(self, part)

    monkeypatch.setattr(ImageFolders, "scenes_in", remember)
    return parts


def test_it_is_made_once_and_used_again(root: Path, looked: list[str]) -> None:
    first = ImageFolders(root)
    assert scenes(first) == WHOLE and sorted(looked) == [".", "a", "b", "c"]
    assert first.looked_for == "" and first.index_file.is_file()
    looked.clear()
    again = ImageFolders(root)
    assert scenes(again) == WHOLE and looked == [] and again.looked_for is None
    assert ImageFolders(root, min_images=2).lengths().tolist() == [2] and looked == []


def test_what_has_just_changed_is_never_trusted(root: Path, looked: list[str]) -> None:
    for folder in (root, root / "a", root / "b" / "deep"):
        ImageFolders(root)
        os.utime(folder)
        ImageFolders(root)
        looked.clear()
        assert "changed just before it was made" in (ImageFolders(root).looked_for or "") and looked
        os.utime(folder, (OLD, OLD))


@pytest.mark.parametrize("change", ["add", "remove", "rename", "new scene", "scene gone", "deep"])
def test_a_folder_that_changed_is_looked_at_anew(
    root: Path, change: str, looked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ImageFolders(root)
    looked.clear()
    expected, folder = dict(WHOLE), root / "a"
    if change == "add":
        put(root / "a" / "2.png")
        expected["a"] = ["0.png", "1.png", "2.png"]
    elif change == "remove":
        (root / "a" / "1.png").unlink()
        expected["a"] = ["0.png"]
    elif change == "rename":
        (root / "a" / "1.png").rename(root / "a" / "x.png")
        expected["a"] = ["0.png", "x.png"]
    elif change == "new scene":
        put(root / "d" / "0.png")
        expected["d"], folder = ["0.png"], root
    elif change == "scene gone":
        shutil.rmtree(root / "c")
        folder = root
        del expected["c"]
    else:
        put(root / "b" / "other" / "0.png")
        expected["b/other"], folder = ["0.png"], root / "b"
    source = ImageFolders(root)
    assert scenes(source) == expected and looked
    assert f"looks at {root} anew, for {folder} has changed" in capsys.readouterr().err
    age(root)
    assert scenes(ImageFolders(root)) == expected
    looked.clear()
    assert scenes(ImageFolders(root)) == expected and looked == []


@pytest.mark.parametrize("where", ["empty", "b/empty"])
def test_pictures_put_where_there_were_none(root: Path, where: str, looked: list[str]) -> None:
    (root / where).mkdir()
    age(root)
    ImageFolders(root)
    looked.clear()
    assert scenes(ImageFolders(root)) == WHOLE and looked == []
    put(root / where / "0.png")
    assert scenes(ImageFolders(root)) == {**WHOLE, where: ["0.png"]}


def test_another_root_class_or_argument_has_another_index(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy")
    files = {ImageFolders(root).index_file, ImageFolders(tmp_path / "copy").index_file}
    files.add(ImageFolders(root, name="other").index_file)
    files.add(Parts(root).index_file)
    files.add(Parts(root, only="a").index_file)
    assert len(files) == 5 and all(file.is_file() for file in files)


def test_a_root_may_be_written_in_many_ways(root: Path, looked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    first = ImageFolders("data")
    (root.parent / "link").symlink_to(root)
    looked.clear()
    monkeypatch.chdir("/")
    for way in (root, root.parent / "link", root / ".." / "data"):
        source = ImageFolders(way)
        assert source.index_file == first.index_file and scenes(source) == WHOLE and looked == []


def test_an_index_of_something_else_is_not_used(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "other" / "x" / "9.png")
    other, mine = ImageFolders(tmp_path / "other"), ImageFolders(root)
    shutil.copy(other.index_file, mine.index_file)
    assert scenes(ImageFolders(root)) == WHOLE
    assert "is of another source" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"broken", b"\xff" * 64])
def test_a_broken_index_is_made_anew(root: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    file = ImageFolders(root).index_file
    file.write_bytes(content)
    assert (
        scenes(ImageFolders(root)) == WHOLE and f"its index {file} cannot be used: it is broken" in capsys.readouterr().err
    )
    assert ImageFolders(root).looked_for is None


def test_an_index_of_another_version_is_made_anew(root: Path, monkeypatch: pytest.MonkeyPatch, looked: list[str]) -> None:
    ImageFolders(root)
    looked.clear()
    monkeypatch.setattr(table_file, "VERSION", table_file.VERSION + 1)
    assert scenes(ImageFolders(root)) == WHOLE and looked
    looked.clear()
    assert scenes(ImageFolders(root)) == WHOLE and not looked


def test_looking_anew_by_wish(root: Path, looked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ImageFolders(root)
    looked.clear()
    with looking_anew():
        assert ImageFolders(root).looked_for == "it was asked for" and len(looked) == 4
    with looking_anew(False):
        assert ImageFolders(root).looked_for is None
    assert ImageFolders(root).looked_for is None
    monkeypatch.setenv(ANEW, "1")
    assert ImageFolders(root).looked_for == "it was asked for"


def test_two_processes_at_once(root: Path) -> None:
    """Both find everything, and one of them alone looks at the folders."""
    code = (
        "import sys, time; from muskie.data.sources.folder import ImageFolders as F\n"
        "look = F.scenes_in; F.scenes_in = lambda self, part: (time.sleep(.2), look(self, part))[1]\n"
        "print('ready', flush=True); input(); s = F(sys.argv[1]); print(len(s), s.looked_for)"
    )
    command = [sys.executable, "-c", code, str(root)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for one in both:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    assert sorted(one.communicate(timeout=300)[0] for one in both) == ["3 \n", "3 None\n"]


class Unlockable:
    """A file system without locks."""

    LOCK_EX = 2

    @staticmethod
    def flock(*_: object) -> None:
        raise OSError("no locks available")


def test_without_locks_it_is_kept_all_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", Unlockable)  # type: ignore[arg-type]
    ImageFolders(root)
    assert ImageFolders(root).looked_for is None


def test_a_cache_that_is_no_folder(root: Path, cache: Path, looked: list[str]) -> None:
    cache.write_text("in the way")
    for _ in range(2):
        looked.clear()
        source = ImageFolders(root)
        assert scenes(source) == WHOLE and looked and not source.index_file.is_file()


def test_a_cache_that_cannot_be_written_to(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is kept there is read; what is out of date there is not, by data workers neither."""
    ImageFolders(root)
    put(root / "a" / "2.png")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(listed, "write_table", full)
    source = ImageFolders(root)
    assert "its index cannot be kept in" in capsys.readouterr().err
    assert scenes(source)["a"] == ["0.png", "1.png", "2.png"] == scenes(handed_on(source))["a"]


def test_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MUSKIE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert index_file("x", {}).parent == tmp_path / ".cache" / "muskie" / "indexes"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert index_file("x", {}).parent == tmp_path / "xdg" / "muskie" / "indexes"
    monkeypatch.setenv("MUSKIE_CACHE", "~/mine")
    assert index_file("x", {}).parent == tmp_path / "mine" / "indexes"

    def nobody(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    assert index_file("x", {}).parent.is_absolute()


ODD = ["straße und Wege", "日本", "a\nb", " ", "'\"$\\", os.fsdecode(b"\xff\xfe")]


@pytest.mark.parametrize("name", ODD)
def test_names_of_any_kind(tmp_path: Path, name: str, looked: list[str]) -> None:
    try:
        put(tmp_path / "data" / name / f"{name}.png")
    except OSError:
        pytest.skip("the file system takes no such name")
    age(tmp_path / "data")
    expected = {name: [f"{name}.png"]}
    assert scenes(ImageFolders(tmp_path / "data")) == expected
    looked.clear()
    source = ImageFolders(tmp_path / "data")
    assert scenes(source) == expected and looked == []
    file = source.file(source.scene(0), source.scene(0).frames[0])
    assert file.is_file() and scenes(handed_on(source)) == expected


def test_the_root_too_may_have_any_name(tmp_path: Path, looked: list[str]) -> None:
    for name in ODD:
        put(tmp_path / name / "s" / "0.png")
        age(tmp_path / name)
        ImageFolders(tmp_path / name)
        looked.clear()
        assert scenes(ImageFolders(tmp_path / name)) == {"s": ["0.png"]} and looked == []


def test_links_that_lead_back_or_nowhere(root: Path, looked: list[str]) -> None:
    (root / "a" / "up").symlink_to(root)
    (root / "b" / "self").symlink_to(root / "b")
    (root / "c" / "itself").symlink_to(root / "c" / "itself")
    (root / "gone").symlink_to(root / "nowhere")
    (root / "twice").symlink_to(root / "a")
    age(root)
    found = scenes(ImageFolders(root))
    # Each folder once, whatever it is called by.
    assert {os.path.realpath(root / name): frames for name, frames in found.items()} == {
        str(root.resolve() / name): frames for name, frames in WHOLE.items()
    }
    assert len(found) == len(WHOLE)
    looked.clear()
    assert scenes(ImageFolders(root)) == found and looked == []


class Parts(ListedSource):
    """Folders of files; those in `closed` cannot be opened. (Whoever is root can open any folder.)"""

    name = "parts"
    closed: tuple[str, ...] = ()

    def __init__(self, root: Path, only: str | None = None) -> None:
        self.root, self.only = root, only
        self._list(only=only)

    def parts(self) -> Sequence[str]:
        return [self.only] if self.only else sorted(os.listdir(self.root))  # noqa: PTH208

    def scenes_in(self, part: str) -> Sequence[Scene]:
        if part in self.closed:
            raise PermissionError(13, "Permission denied", str(self.root / part / "inside"))
        return [Scene(part, sorted(path.name for path in (self.root / part).iterdir() if path.is_file()))]

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        raise OSError("of names alone")

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / frame


def test_what_cannot_be_opened_is_told_until_it_can(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parts, "closed", ("a", "c"))
    put(root / "b" / "0.png")
    age(root)
    told = [f"{part}: Permission denied ({root / part / 'inside'})" for part in ("a", "c")]
    for why in ("", None):
        source = Parts(root)
        assert list(scenes(source)) == ["b"] and source.problems == told and source.looked_for == why
    monkeypatch.setattr(Parts, "closed", ("a",))
    source = Parts(root)
    assert source.looked_for == "c can be read now" and list(scenes(source)) == ["b", "c"] and source.problems == told[:1]


@pytest.mark.skipif(AS_ROOT, reason="root may open any folder")
def test_folders_that_may_not_be_read(root: Path) -> None:
    (root / "a").chmod(0)
    try:
        source = ImageFolders(root)
        assert list(scenes(source)) == ["b/deep", "c"] and source.problems[0].startswith("a: Permission denied")
    finally:
        (root / "a").chmod(0o755)
    assert scenes(ImageFolders(root)) == WHOLE


def test_nothing_at_all_is_an_error_and_not_kept(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parts, "closed", ("a", "b", "c"))
    with pytest.raises(DataError, match=r"no scene with images found there; the first: a: Permission denied"):
        Parts(root)
    assert not list(cache.rglob("*.safetensors"))


def handed_on(source: SceneSource) -> SceneSource:
    """As a process that is started anew gets it."""
    found: SceneSource = pickle.loads(pickle.dumps(source))
    return found


def test_a_worker_maps_the_file_itself(root: Path) -> None:
    for number in range(200):
        put(root / "many" / f"{number:050d}.png")
    source = ImageFolders(root)
    assert len(pickle.dumps(source)) < 1000 and source.index_file.stat().st_size > 10_000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(scenes, source).result(timeout=300) == scenes(source) == {**WHOLE, "many": scenes(source)["many"]}


def test_a_worker_never_gets_another_table(root: Path) -> None:
    source = ImageFolders(root)
    state = source.__getstate__()
    put(root / "a" / "2.png")
    newer = ImageFolders(root)
    assert "_table" in source.__getstate__(), "the file is no longer that of this table"
    assert scenes(handed_on(source)) == WHOLE and scenes(newer)["a"] == ["0.png", "1.png", "2.png"]
    late = ImageFolders.__new__(ImageFolders)
    with pytest.raises(DataError, match="was replaced while it was handed on; start again"):
        late.__setstate__(state)
    source.index_file.unlink()
    assert scenes(handed_on(newer))["a"] == ["0.png", "1.png", "2.png"]


def test_an_index_is_older_than_what_is_put_while_it_is_made(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that comes after its folder was listed, and before that is over."""
    look = ImageFolders.scenes_in

    def while_listing(self: ImageFolders, part: str) -> Sequence[Scene]:
        found = look(self, part)
        if part == "a":
            put(root / "a" / "late.png")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ImageFolders, "scenes_in", while_listing)
        assert scenes(ImageFolders(root))["a"] == ["0.png", "1.png"]
    assert scenes(ImageFolders(root))["a"] == ["0.png", "1.png", "late.png"]
