"""The command line on its way to Hydra."""

from __future__ import annotations

from pathlib import Path

import pytest

from muskie.errors import ConfigError
from muskie.overrides import compose_config, read_overrides, split_flags
from muskie.training.settings import SECTIONS, read_settings

CONFIGS = Path(__file__).parents[1] / "configs"
WITH_ROOT = ", ".join(f"data={p.stem}" for p in sorted((CONFIGS / "data").glob("*.yaml")) if "\nroot:" in p.read_text())


def read(*words: str) -> list[str]:
    return read_overrides(words, CONFIGS, "pretrain", SECTIONS.names())


def refused(*words: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(*words)
    return str(raised.value).splitlines()


def test_keys_that_only_the_code_knows_are_added() -> None:
    words = [
        "trainer.steps=3",
        "trainer.accumulate=2",
        "model.patch_size=8",
        "model.decoder.depth=2",
        "objective.colour=0.5",
    ]
    expected = ["trainer.steps=3", "++trainer.accumulate=2", "++model.patch_size=8", "++model.decoder.depth=2"]
    assert read(*words) == [*expected, "++objective.colour=0.5"]
    settings = read_settings(compose_config(CONFIGS, "pretrain", read(*words)))
    assert settings["trainer"].accumulate == 2 and settings["objective"].colour == 0.5
    assert settings["model"] == {"name": "muskie_tiny", "patch_size": 8, "decoder": {"depth": 2}}


def test_a_value_that_yaml_leaves_open() -> None:
    settings = read_settings(compose_config(CONFIGS, "pretrain", read("data=folder", "data.root=/some/where")))
    assert settings["data"]["root"] == "/some/where"
    with pytest.raises(ConfigError, match=r"^data\.root must be given, e\.g\. data\.root=PATH$"):
        read_settings(compose_config(CONFIGS, "pretrain", read("data=folder")))


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml")))
def test_every_experiment_is_valid(name: str) -> None:
    config = compose_config(CONFIGS, "pretrain", read(f"experiment={name}", "data=folder", "data.root=."))
    assert read_settings(config)["trainer"].total_steps(8, 2) > 0


def test_all_unknown_keys_at_once() -> None:
    found = refused("trainer.step=1", "optm.lr=1", "+plan.veiws=2", "model.decoder.dpth=2", "sed=1", "trainer.steps=2")
    for part in (
        "trainer.step is unknown; did you mean 'trainer.steps'",
        "optm.lr is unknown; did you mean 'optim'",
        "plan.veiws is unknown; did you mean 'plan.views'",
        "model.decoder.dpth is unknown; did you mean 'model.decoder.depth' or",
    ):
        assert any(part in line for line in found)
    assert [line.split(" ")[0] for line in found] == ["trainer.step", "optm.lr", "plan.veiws", "model.decoder.dpth", "sed"]


def test_unknown_choices() -> None:
    assert refused("model=muskie_bas")[0].startswith("model=muskie_bas is unknown; did you mean 'muskie_base'")
    assert "did you mean 'sevenscenes'" in refused("data=sevenscene")[0]
    assert "did you mean 'published'" in refused("experiment=publishd")[0]
    assert refused("model=null")[0].startswith("model=null is unknown. Allowed: 'croco_v2_vitb', ")
    assert len(refused("model=a", "data=b", "experiment=[published,c]")) == 3
    assert refused("-m", "model=muskie_tiny,muskie_smal")[0].startswith("model=muskie_smal is unknown")


def test_words_that_are_no_override() -> None:
    for word in ("steps", "=3", "trainer.steps=[1", "é=3", "data.root='a", "trainer.steps=${", "trainer.steps =3",
                 "log_dir=~/a,~/b"):  # fmt: skip
        assert refused(word)[0].startswith(f"{word!r} cannot be read as key=value")
    assert refused("steps")[0].endswith("no = in it")


PATHS = ["~/photos", "/a=b", "/März (1)/x", "/a b/c", "C:\\photos", "/a#b", "~", "/50%", "/Anna's", '/"x"', "/it's \"x\"",
         "/a[b]", "C:\\x (1)\\", "C:\\x (1)\\\\", "/it\\'s", "2026_11_21", "1e5", "nan", "007"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_paths_need_no_quotes(path: str) -> None:
    config = compose_config(CONFIGS, "pretrain", read("data=folder", f"data.root={path}", f"output_dir={path}"))
    assert config.data.root == config.output_dir == path


def test_a_key_without_its_section() -> None:
    assert refused("steps=4") == ["steps is unknown; did you mean 'trainer.steps'?"]
    assert refused("data=folder", "root=/x", "min_images=3") == [
        "root is unknown; did you mean 'data.root'?",
        "min_images is unknown; did you mean 'data.min_images'?",
    ]
    others = WITH_ROOT
    assert refused("data.root=/x") == [f"data.root is unknown; {others} would have it"]
    assert refused("data.rot=/x")[0].startswith("data.rot is unknown. Allowed in data: 'frames'")
    assert refused("data=/my/photos") == ["data=/my/photos is a path; write data=folder data.root=/my/photos"]
    assert refused("~optim")[0].startswith("~optim: this is a section; set its keys: ")
    assert refused("name=muon") == ["name is unknown; did you mean 'optim.name' or 'model.name'?"]


def test_hydras_flags_pass() -> None:
    assert split_flags(["--cfg", "job", "seed=1", "-m", "~optim.lr"]) == (["--cfg", "job", "-m"], ["seed=1", "~optim.lr"])
    assert read("--cfg", "job", "--resolve", "seed=1") == ["--cfg", "job", "--resolve", "seed=1"]
    assert read("-i", "defaults", "hydra.verbose=true") == ["-i", "defaults", "hydra.verbose=true"]
    assert read("--info", "seed=1") == ["--info", "seed=1"]
    assert read("-cn", "other", "what.ever=1") == ["-cn", "other", "what.ever=1"]
    assert read("--config-name=other", "what.ever=1") == ["--config-name=other", "what.ever=1"]


def test_sweeps() -> None:
    words = ["-m", "seed=1,2", "model=muskie_tiny,muskie_small", "trainer.accumulate=1,2"]
    assert read(*words) == ["-m", "seed=1,2", "model=muskie_tiny,muskie_small", "++trainer.accumulate=1,2"]
    assert "all jobs of a sweep would share this folder" in refused("-m", "seed=1,2", "output_dir=runs")[0]
    assert read("-m", "output_dir='runs/${hydra:job.num}'")[1:] == ["output_dir='runs/${hydra:job.num}'"]
    assert read("-m", "data=folder", "data.root=/a\\,b,/c")[2] == "++data.root=/a\\,b,/c"
    assert read("-m", "init_from=null,2026")[1] == "init_from=null,'2026'"
    for auto in (["resume='auto'"], ["resume=auto", "output_dir=null"], ["resume=auto,null"], ["resume=null,'auto'"]):
        assert "every job of a sweep would continue" in refused("-m", "seed=1,2", *auto)[0]
    assert read("-m", "data=folder", "data.root=2026_11_21,1e5")[2] == "++data.root='2026_11_21','1e5'"
    assert "every job of a sweep would continue the newest run" in refused("-m", "seed=1,2", "resume=auto")[0]
    assert read("-m", "resume=auto", "output_dir='runs/${hydra:job.num}'")[1] == "resume=auto"
    assert read("--multirun", "output_dir=null")[1:] == ["output_dir=null"]


def test_several_values_are_a_sweep_only_if_asked_for() -> None:
    assert refused("trainer.steps=1,2")[0].startswith("trainer.steps=1,2: several values are a sweep; add -m")
    assert read("hydra.mode=MULTIRUN", "trainer.steps=1,2")[1:] == ["trainer.steps=1,2"]


def test_a_section_at_once() -> None:
    assert read("trainer={accumulate:2,steps:3}") == ["++trainer={accumulate:2,steps:3}"]
    assert read("trainer={steps:3}") == ["trainer={steps:3}"]
    assert refused("trainer={stesp:3}")[0].startswith("trainer.stesp is unknown; did you mean 'trainer.steps'?")
    assert "write objective._target_=... and its arguments" in refused("objective={_target_:a.B,weight:3}")[0]
    assert refused("optim=null")[0].startswith("optim=null: this is a section; set its keys: base_lr, ")
    assert compose_config(CONFIGS, "pretrain", read("trainer={accumulate:2,steps:3}")).trainer.batch_size == 8


def test_a_folder_of_their_own_configurations(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("_target_: muskie.data.sources.folder.ImageFolders\nroot: /mine\n")
    for flags in (["--config-dir", str(tmp_path)], [f"--config-dir={tmp_path}"], ["-cd", str(tmp_path)]):
        assert read(*flags, "data=mine", "data.root=/other") == [*flags, "data=mine", "data.root=/other"]
    assert "did you mean 'mine'" in refused("--config-dir", str(tmp_path), "data=min")[0]
    for broken in ("_target_: [", "_target_: ${oc.env:NO_SUCH_VARIABLE}", "_target_: no.such.Thing", "- 1"):
        (tmp_path / "data" / "broken.yaml").write_text(broken)
        found = refused("--config-dir", str(tmp_path), "data.root=/x")[0]
        others = WITH_ROOT.replace("data=navi", "data=mine, data=navi")
        assert found == f"data.root is unknown; {others} would have it"
    assert refused("data=")[0].startswith("data= is unknown") and refused("data=" + "x" * 300)
    assert "is not a folder" in refused("--config-dir", str(tmp_path / "gone"), "data=mine")[0]


def test_a_class_of_their_own_takes_no_key_of_the_one_it_replaces() -> None:
    target = "objective._target_=muskie.schedule.Ramp"
    words = read(target, "objective.start=1", "objective.end=2")
    assert words == [f"++{target}", "++objective.start=1", "++objective.end=2", "~objective.floor", "~objective.regulariser"]
    config = compose_config(CONFIGS, "pretrain", words)
    assert dict(config.objective) == {"_target_": "muskie.schedule.Ramp", "start": 1, "end": 2}
    # A key without a value is dropped as well.
    source = "data._target_=muskie.schedule.Ramp"
    assert read("data=folder", source, "data.start=1")[-2:] == ["data.root=0", "~data.root"]
    compose_config(CONFIGS, "pretrain", read("data=folder", source, "data.start=1"))
    assert refused(target, "objective.strat=1")[0].startswith("objective.strat is unknown; did you mean 'objective.start'")
    assert "cannot be imported" in refused("objective._target_=nowhere.Thing")[0]
