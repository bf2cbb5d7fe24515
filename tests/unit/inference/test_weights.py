"""inference.weights and devices: which folder, which content, and what is said when a model is not there."""

import json
import os
import shutil

import pytest

from inference import devices, weights

COMMIT = "a" * 40


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def _cache(hub, files):
    """Put `files` (name → bytes, blob name) into the cache as org/name, as the hub's client does."""
    root = hub / "models--org--name"
    snapshot = root / "snapshots" / COMMIT
    for part in (root / "blobs", root / "refs", snapshot):
        part.mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(COMMIT)
    for name, (data, blob) in files.items():
        (root / "blobs" / blob).write_bytes(data)
        os.symlink(root / "blobs" / blob, snapshot / name)
    return snapshot


def test_content_follows_the_files_not_the_place(model, tmp_path):
    before = weights.content(model)
    moved = shutil.copytree(model, tmp_path / "elsewhere" / "copy")
    assert weights.content(moved) == before
    (moved / "README.md").write_text("words")
    (moved / "model.fp16.safetensors").write_bytes(b"half")
    assert weights.content(moved) == before
    (moved / "config.json").write_text('{"layers": 2}')
    assert weights.content(moved) != before


def test_changed_weights_change_the_content(model):
    before = weights.content(model)
    (model / "model.safetensors").write_bytes(b"other weights")
    assert weights.content(model) != before


def test_a_local_folder_resolves_to_itself_and_its_part(model):
    (model / "vae").mkdir()
    (model / "vae" / "config.json").write_text("{}")
    assert weights.resolve(model) == model
    assert weights.resolve(str(model), subfolder="vae") == model / "vae"


def test_a_folder_without_a_model_is_refused(model):
    (model / "config.json").unlink()
    with pytest.raises(weights.ModelNotFound, match=r"no config\.json"):
        weights.resolve(model)


def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id():
    with pytest.raises(weights.ModelNotFound, match="/nowhere/models/blip2 does not exist"):
        weights.resolve("/nowhere/models/blip2")


def test_a_hub_model_that_cannot_be_had_is_named(hub):
    with pytest.raises(weights.ModelNotFound, match="org/name at revision main"):
        weights.resolve("org/name", revision="main")


def test_a_cached_hub_model_is_taken_without_network_and_its_big_files_are_not_read(hub, monkeypatch):
    sha = "b" * 64
    files = {"config.json": (b"{}", "c" * 40), "model.safetensors": (b"big", sha)}
    snapshot = _cache(hub, files)
    assert weights.resolve("org/name") == snapshot
    read = []
    monkeypatch.setattr(weights, "hash_file", lambda path: read.append(path.name) or "0")
    first = weights.content(snapshot)
    assert read == ["config.json"] and first


def test_a_half_fetched_hub_model_is_not_taken_for_whole(hub):
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode()
    files = {
        "config.json": (b"{}", "c" * 40),
        "model.safetensors.index.json": (index, "d" * 40),
        "model-1.safetensors": (b"first half", "e" * 64),
    }
    _cache(hub, files)
    with pytest.raises(weights.ModelNotFound, match="lacks"):
        weights.resolve("org/name")
    _cache(hub, {"model-2.safetensors": (b"second half", "f" * 64)})
    assert weights.resolve("org/name").name == COMMIT


def test_devices_and_precisions_are_checked():
    import torch

    assert devices.pick("cpu") == torch.device("cpu")
    assert devices.dtype("bfloat16") is torch.bfloat16
    with pytest.raises(ValueError, match="int4"):
        devices.check_precision("int4")
    if not torch.cuda.is_available():
        assert devices.pick("auto").type in ("cpu", "mps")
        with pytest.raises(ValueError, match="no CUDA device"):
            devices.pick("cuda:0")


def test_a_model_is_named_by_id_and_commit_or_by_its_folder(tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123456789abcdef0123" / "vae"
    assert weights.name("a/b", snapshot) == "a/b@0123456789ab"
    (tmp_path / "local").mkdir()
    assert weights.name(tmp_path / "local", tmp_path / "local") == "local"


def test_id_and_revision_are_part_of_a_hub_models_identity_and_a_path_of_no_ones(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    one, other = tmp_path / "one", tmp_path / "other"
    assert weights.identity(one, None, one) == weights.identity(other, "ignored", other)
    hub = weights.identity("a/b", "v1", one)
    assert (hub["id"], hub["revision"]) == ("a/b", "v1")
    assert hub["weights"] == weights.identity(one, None, one)["weights"]
