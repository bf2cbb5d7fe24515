"""Profiles: what is read, and what is refused with file and key."""

import pytest
import yaml

from evaluation import seeds
from pipelines import profiles
from pipelines.profiles import ProfileError

FIRST = {"provider": "miniature.estimator:TinyEstimator", "model": "${project}/miniature/models/estimator"}


def write(folder, name, **content):
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


@pytest.fixture
def raw_folders(monkeypatch, tmp_path):
    for name in ("AFFECTNET", "DISFA", "PORTRAITS"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("PORTRAITS_VOUCHED_BY", "the tester")


def test_the_profiles_of_the_project_load(tmp_path, raw_folders):
    assert profiles.names() == ["editing", "miniature", "paper", "portraits"]
    loaded = {name: profiles.load(name, tmp_path) for name in profiles.names()}
    assert loaded["miniature"].raw.affectnet == tmp_path / "raw" / "affectnet"
    assert loaded["miniature"].raw.folder is None
    assert loaded["paper"].resolution.min_side == 512
    assert loaded["paper"].experiments["fineface"].train.smoothing.variance == 0.2
    assert loaded["paper"].experiments["fineface"].train.precision == "bfloat16"
    assert loaded["portraits"].photorealism.by == "the tester"
    assert loaded["portraits"].captions.provider == "sidecar"
    assert loaded["portraits"].base == loaded["paper"].base
    assert loaded["editing"].editing == loaded["paper"].editing and loaded["editing"].split.test == 0.02


def test_miniature_and_paper_say_the_same_keys():
    """The two differ in ids, sizes and counts only."""

    def keys(name):
        content = yaml.safe_load((profiles.FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
        shown = {"title", "notice", "raw_writer", "chunk"}
        return {key for key in content if key not in shown}

    assert keys("miniature") == keys("paper")


def test_an_unknown_key_is_named_with_its_file(tmp_path):
    path = write(tmp_path, "mine", extends="miniature", resolution={"minimum": 3})
    with pytest.raises(ProfileError) as refused:
        profiles.load(path, tmp_path)
    assert str(refused.value) == f"{path}: unknown key 'resolution.minimum'"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"resolutoin": {}}, "unknown key 'resolutoin'; did you mean 'resolution'"),
        ({"resolution": {"min_sied": 3}}, "did you mean 'min_side'?"),
        ({"second_au_estimator": {"modle": "x"}}, "did you mean 'model'?"),
        ({"photorealism": {"provider": "blip3"}}, "did you mean 'blip2'?"),
        ({"corrections": {"recipe": "papre"}}, "did you mean 'paper'?"),
        ({"disfa": {"cameras": ["lefft"]}}, "did you mean 'left'?"),
    ],
)
def test_a_mistyped_key_or_choice_gets_the_nearest(tmp_path, content, message):
    path = write(tmp_path, "mine", extends="miniature", **content)
    with pytest.raises(ProfileError) as refused:
        profiles.load(path, tmp_path)
    assert message in str(refused.value)


def test_what_another_provider_has_is_not_proposed(tmp_path):
    path = write(
        tmp_path, "mine", extends="miniature", photorealism={"provider": "vouched", "by": "me", "modle": 1}
    )
    with pytest.raises(ProfileError) as refused:
        profiles.load(path, tmp_path)
    assert str(refused.value) == f"{path}: unknown key 'photorealism.modle'"


def test_an_unknown_key_in_an_extended_file_names_that_file(tmp_path):
    below = write(tmp_path, "below", extends="miniature", base={"colour": "red"})
    above = write(tmp_path, "above", extends="below.yaml", chunk=7)
    with pytest.raises(ProfileError, match=r"unknown key 'base\.colour'") as refused:
        profiles.load(above, tmp_path)
    assert below in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk": "many"}, "chunk: Input should be a valid integer"),
        ({"photorealism": {"provider": "oracle"}}, "photorealism: Input tag 'oracle'"),
        ({"photorealism": {"provider": "vouched"}}, "'photorealism.by' is missing"),
        ({"experiments": {"x": {"train": {"method": "sd", "rank": 2}}}}, "key 'experiments.x.train.rank'"),
        (
            {"experiments": {"x": {"train": {"method": "finefaec"}}}},
            "x.train.method: no method 'finefaec'; did you mean 'fineface'",
        ),
        ({"experiments": {"x": {"train": {}}}}, "'experiments.x.train.method' is missing"),
        ({"experiments": {"x": {"sample": {}}}}, "'experiments.x.train' is missing"),
        (
            {"experiments": {"x": {"train": {"method": "sd"}, "sample": {"au_scale": 2}}}},
            "unknown key 'experiments.x.sample.au_scale'",
        ),
        (
            {"experiments": {"fineface": {"train": {"encoder": "res_mlp46"}}}},
            "experiments.fineface.train.encoder: no AU encoder 'res_mlp46'; did you mean 'res_mlp64'",
        ),
        (
            {"experiments": {"fineface": {"train": {"processes": 3}}}},
            "fineface.train.processes: batch_size 32 cannot be divided by 3 processes; 2 would do",
        ),
        ({"engine": {"kind": "rya"}}, "engine: Input tag 'rya' found using 'kind' does not match"),
        ({"engine": {"kind": "ray", "gpu": 1}}, "unknown key 'engine.gpu'; did you mean 'gpus'"),
        ({"engine": {"kind": "ray", "address": "ray://head:1"}}, "engine.address: String should match"),
        (
            {"experiments": {"fineface": {"train": {"sede": 3}}}},
            "unknown key 'experiments.fineface.train.sede'; did you mean 'seed'",
        ),
        ({"experiments": {"Big Name": {"train": {"method": "sd"}}}}, "experiment name 'Big Name'"),
        ({"evaluation": {"competitor": "nobody"}}, "no experiment 'nobody'"),
        ({"evaluation": {"judge": "second"}, "second_au_estimator": None}, "needs a second_au_estimator"),
        ({"second_au_estimator": FIRST}, "second_au_estimator: is the au_estimator itself"),
        ({"corrections": {"recipe": "calibrated"}, "raw": {"disfa": None}}, "raw.disfa is null"),
        ({"split": {"validation": 0.9}}, "split.validation: Input should be less than 0.5"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, change, message):
    path = write(tmp_path, "mine", extends="miniature", **change)
    with pytest.raises(ProfileError) as refused:
        profiles.load(path, tmp_path)
    assert message in str(refused.value) and path in str(refused.value)


def test_another_provider_starts_its_section_afresh(tmp_path):
    path = write(tmp_path, "mine", extends="miniature", photorealism={"provider": "vouched", "by": "me"})
    assert profiles.load(path, tmp_path).photorealism.model_dump() == {"provider": "vouched", "by": "me"}


def test_single_keys_change_and_null_removes_an_experiment(tmp_path):
    changes = {"fineface": {"train": {"steps": 5}}, "sd": None, "second": {"train": {"method": "sd"}}}
    path = write(tmp_path, "mine", extends="miniature", experiments=changes, evaluation={"competitor": None})
    found = profiles.load(path, tmp_path).experiments
    assert list(found) == ["fineface", "second"]
    assert found["fineface"].train.steps == 5 and found["fineface"].train.rank == 16


def test_null_removes_an_editor_or_all_of_them(tmp_path):
    mine = {"mine": {"method": "ganimation", "size": 64}, "pattgan": None}
    path = write(tmp_path, "mine", extends="miniature", editing={"editors": mine})
    found = profiles.load(path, tmp_path).editing
    assert {"mine", "ganimation"} < set(found.editors) and "pattgan" not in found.editors
    assert found.editors["mine"].steps > 1200, "the paper's, not those of the inherited editor of that method"
    path = write(tmp_path, "none", extends="miniature", editing={"editors": None})
    assert profiles.load(path, tmp_path).editing.editors == {}


def test_another_method_starts_its_experiment_afresh(tmp_path):
    """Nothing of the old method is left, in training or in sampling."""
    below = write(
        tmp_path, "below", extends="miniature", experiments={"fineface": {"sample": {"au_scale": 2}}}
    )
    assert profiles.load(below, tmp_path).experiments["fineface"].sample.au_scale == 2
    changes = {"fineface": {"train": {"method": "sd"}}}
    path = write(tmp_path, "mine", extends="below.yaml", experiments=changes)
    found = profiles.load(path, tmp_path).experiments["fineface"]
    assert found.train.model_dump() == {"method": "sd", "wording": "name"} and found.sample.arguments == {}


def test_variables_are_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("FINEFACE_TEST_RAW", "/somewhere")
    monkeypatch.delenv("FINEFACE_TEST_NOT_SET", raising=False)
    folders = {
        "affectnet": "${FINEFACE_TEST_RAW}/a",
        "disfa": "${FINEFACE_TEST_NOT_SET:-/else}/d",
        "folder": "${profile}/f",
    }
    path = write(tmp_path, "mine", extends="miniature", raw=folders)
    raw = profiles.load(path, tmp_path / "home").raw
    assert [str(folder) for _, folder in raw] == ["/somewhere/a", "/else/d", f"{tmp_path}/f"]


def test_a_variable_that_is_not_set_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("AFFECTNET", raising=False)
    with pytest.raises(ProfileError, match=r"paper\.yaml: raw\.affectnet: .* AFFECTNET is not set"):
        profiles.load("paper", tmp_path)


def test_an_overruled_variable_need_not_be_set(tmp_path, monkeypatch):
    monkeypatch.delenv("AFFECTNET", raising=False)
    monkeypatch.delenv("DISFA", raising=False)
    path = write(tmp_path, "mine", extends="paper", raw={"affectnet": "/a", "disfa": None})
    assert str(profiles.load(path, tmp_path).raw.affectnet) == "/a"


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(ProfileError, match=r"no profile 'nothing'.*miniature, paper, portraits"):
        profiles.load("nothing", tmp_path)
    odd = tmp_path / "odd.yaml"
    odd.write_text("[1, 2]")
    with pytest.raises(ProfileError, match="a profile is a mapping"):
        profiles.load(str(odd), tmp_path)
    odd.write_text("a: [")
    with pytest.raises(ProfileError, match="not valid YAML"):
        profiles.load(str(odd), tmp_path)
    odd.write_text("extends: odd.yaml")
    with pytest.raises(ProfileError, match="extends itself"):
        profiles.load(str(odd), tmp_path)


def test_every_field_is_described():
    """From the descriptions docs/profiles.md is made. A section says what it is by its class."""
    import training.job  # noqa: F401  (its settings too)
    from settings.base import Settings

    left, seen = [Settings], set()
    while left:
        model = left.pop()
        left += [below for below in model.__subclasses__() if not below.__module__.startswith("test")]
        seen.add(model.__name__)
        for name, field in model.model_fields.items():
            section = isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
            said = field.description or (section and field.annotation.__doc__)
            assert said, f"{model.__name__}.{name} has no description"
    assert {"Profile", "FineFaceTrain", "SampleSettings", "TrainingJob", "Smoothing"} <= seen


LAVIS = {"provider": "lavis", "model": "blip2_t5/pretrain_flant5xl", "weights": "/weights"}


def test_lavis_is_chosen_with_its_weights_and_its_own_precisions(tmp_path):
    questions = {"cartoon": "A cartoon?", "real": "Real?"}
    asked = {**LAVIS, "questions": questions, "thresholds": {"cartoon": 0.5, "real": 0.5}}
    path = write(tmp_path, "mine", extends="miniature", photorealism=asked, captions=LAVIS)
    profile = profiles.load(path, tmp_path)
    assert profile.captions.chosen == {**LAVIS, "precision": "mixed"} == profile.photorealism.chosen
    for wrong, message in (
        ({"precision": "bfloat16"}, "captions.precision: Input should be 'mixed' or 'float32'"),
        ({"model": "flan-t5"}, "captions.model: String should match"),
        ({"revision": "main"}, "captions.revision: Input should be None"),
    ):
        path = write(tmp_path, "mine", extends="miniature", captions={**LAVIS, **wrong})
        with pytest.raises(ProfileError) as refused:
            profiles.load(path, tmp_path)
        assert message in str(refused.value)


def test_an_experiment_has_the_settings_of_training_that_its_method_has(tmp_path):
    said = {
        "training": {"steps": 7, "rank": 3},
        "experiments": {"mine": {"train": {"method": "fineface", "rank": 5}}},
    }
    path = write(tmp_path, "mine", extends="miniature", groups=["table2"], **said)
    found = profiles.load(path, tmp_path).experiments
    assert list(found) == ["none", "mlp", "res_mlp", "fineface", "res_3mlp", "individual_mlp", "mine", "sd"]
    assert found["sd"].train.model_dump() == {"method": "sd", "wording": "name"}
    assert {one.train.steps for name, one in found.items() if name != "sd"} == {7}
    assert found["mlp"].train.rank == 3 and found["mine"].train.rank == 5
    assert found["mlp"].train.encoder == "mlp" and found["mlp"].train.batch_size == 32


def test_a_run_picks_groups_and_names_and_gets_those_they_are_compared_with(tmp_path, monkeypatch):
    changes = {"no_smoothing": {"train": {"seed": 4}}, "mine": {"train": {"method": "sd"}}}
    path = write(tmp_path, "mine", extends="miniature", experiments=changes)
    assert list(profiles.load(path, tmp_path).experiments) == ["fineface", "sd", "mine"]
    monkeypatch.setenv(profiles.EXPERIMENTS, "no_smoothing, mine")
    found = profiles.load(path, tmp_path)
    assert list(found.experiments) == ["no_smoothing", "mine", "fineface", "sd"]
    assert found.experiments["no_smoothing"].train.seed == 4
    assert found.experiments["no_smoothing"].train.smoothing.variance == 0
    assert found.rivals == {"no_smoothing": "fineface", "mine": "sd", "fineface": "sd"}
    monkeypatch.setenv(profiles.EXPERIMENTS, "tabel2")
    with pytest.raises(ProfileError, match=r"no experiment or group 'tabel2'; did you mean 'table2'"):
        profiles.load(path, tmp_path)


def test_seeds_are_experiments_of_their_own(tmp_path, monkeypatch):
    path = write(tmp_path, "mine", extends="miniature", seeds=2, training={"seed": 10})
    found = profiles.load(path, tmp_path).experiments
    assert {name: getattr(one.train, "seed", None) for name, one in found.items()} == {
        **{"fineface": 10, "fineface.seed1": 11, "sd": None},
    }
    assert found["fineface"].train.model_copy(update={"seed": 11}) == found["fineface.seed1"].train
    monkeypatch.setenv(profiles.SEEDS, "3")
    assert "fineface.seed2" in profiles.load(path, tmp_path).experiments


def test_a_training_is_compared_with_its_rivals_of_the_same_number(tmp_path, monkeypatch):
    monkeypatch.setenv(profiles.EXPERIMENTS, "twelve_tokens")
    monkeypatch.setenv(profiles.SEEDS, "2")
    found = profiles.load("miniature", tmp_path)
    assert found.rivals == {
        **{"twelve_tokens": "fineface", "twelve_tokens.seed1": "fineface.seed1"},
        **{"fineface": "sd", "fineface.seed1": "sd"},
    }
    assert seeds.groups({name: one.decides for name, one in found.experiments.items()}) == {
        "twelve_tokens": ["twelve_tokens", "twelve_tokens.seed1"],
        "fineface": ["fineface", "fineface.seed1"],
    }


def test_what_is_said_for_all_experiments_is_refused_where_it_is_said(tmp_path):
    for change, message in (
        ({"training": {"stesp": 3}}, "unknown key 'training.stesp'; did you mean 'steps'"),
        ({"training": {"processes": 3}}, "training.processes: batch_size 32 cannot be divided by 3"),
        ({"groups": ["tabel3"]}, "no group of experiments 'tabel3'; did you mean 'table3'"),
        ({"experiments": {"fineface": {"against": "nobody"}}}, "fineface.against: no experiment 'nobody'"),
    ):
        path = write(tmp_path, "mine", extends="miniature", **change)
        with pytest.raises(ProfileError) as refused:
            profiles.load(path, tmp_path)
        assert message in str(refused.value) and path in str(refused.value)


def test_every_row_of_the_paper_is_an_experiment_of_the_list():
    from evaluation import tables
    from pipelines.profiles import experiments

    groups, listed = experiments.listed()
    assert {name for group in groups.values() for name in group} == set(listed)
    rows = {said.get("paper") for said in listed.values()} - {None}
    assert rows <= set(tables.paper()["experiment"])
