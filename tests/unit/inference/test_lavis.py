"""LAVIS as far as it can be seen without its environment: identity, weights, and what the worker refuses."""

import importlib.util
import sys

import pytest
import torch

from inference import environments, weights
from inference.lavis import Lavis

MODEL = "blip2_t5/pretrain_flant5xl"
QUESTIONS = {"cartoon": "Is this a cartoon?", "real": "Is this photo real?"}
CONFIGURATION = {
    "load_finetuned": False,
    "pretrained": "https://example.org/BLIP2/blip2_pretrained_flant5xl.pth",
    "finetuned": "",
    "t5_model": "google/flan-t5-xl",
}


@pytest.fixture
def folder(tmp_path):
    """A folder filled as the model zoo names its files, their content made up."""
    for name in ("blip2_pretrained_flant5xl.pth", "eva_vit_g.pth"):
        (tmp_path / name).write_bytes(b"weights")
    for name in ("bert-base-uncased", "google/flan-t5-xl", ".cache"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    return tmp_path


@pytest.fixture(scope="module")
def worker():
    """The worker's script as a module."""
    sys.path.append(str(environments.HERE))
    spec = importlib.util.spec_from_file_location("lavis_worker", environments.HERE / "lavis_worker.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(environments.HERE))
    return module


def test_the_fingerprint_knows_model_weights_and_precision_and_no_place(folder, tmp_path_factory):
    before = Lavis(MODEL, folder).fingerprint
    assert Lavis(MODEL, folder, batch_size=3).fingerprint == before
    assert Lavis("blip2_t5/pretrain_flant5xxl", folder).fingerprint != before
    assert Lavis(MODEL, folder, precision="float32").fingerprint != before
    moved = folder.rename(tmp_path_factory.mktemp("elsewhere") / "weights")
    assert Lavis(MODEL, moved).fingerprint == before
    (moved / ".cache" / "notes").write_text("a download's")
    assert Lavis(MODEL, moved).fingerprint == before
    (moved / "google" / "flan-t5-xl" / "config.json").write_text('{"d_model": 8}')
    assert Lavis(MODEL, moved).fingerprint != before


def test_a_tree_of_files_knows_their_places(tmp_path):
    for place, name in (("one", "a"), ("two", "b")):
        (tmp_path / place / name).mkdir(parents=True)
        (tmp_path / place / name / "weights.bin").write_bytes(b"same")
    assert weights.tree(tmp_path / "one") != weights.tree(tmp_path / "two")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a").symlink_to(tmp_path / "one" / "a")
    assert weights.tree(tmp_path / "one") == weights.tree(tmp_path / "linked")


def test_without_the_folder_it_says_what_belongs_there_and_under_which_licence(tmp_path):
    with pytest.raises(weights.ModelNotFound) as missing:
        assert Lavis(MODEL, tmp_path / "nowhere").folder
    for word in (MODEL, str(tmp_path / "nowhere"), "eva_vit_g.pth", "bert-base-uncased", "BSD-3-Clause"):
        assert word in str(missing.value)


def test_an_unknown_precision_is_refused(folder):
    with pytest.raises(ValueError, match="'bfloat16' is not one of mixed, float32"):
        Lavis(MODEL, folder, precision="bfloat16")


def test_the_worker_gets_whole_prompts_for_questions_and_none_for_captions(folder):
    asked = Lavis(MODEL, folder, batch_size=8).worker(QUESTIONS)
    assert asked.environment == "lavis"
    assert asked.settings["questions"]["real"] == "Question: Is this photo real? Answer:"
    assert asked.settings["batch_size"] == 8 and asked.settings["weights"] == str(folder)
    assert Lavis(MODEL, folder).worker().settings["questions"] is None


@pytest.mark.parametrize("name", ["blip2_pretrained_flant5xl.pth", "eva_vit_g.pth", "google/flan-t5-xl"])
def test_the_worker_names_every_file_that_is_missing(worker, folder, name):
    (folder / name).rename(folder / "put-aside")
    (folder / "bert-base-uncased").rename(folder / "put-aside-too")
    with pytest.raises(FileNotFoundError) as missing:
        worker.take_from(folder, CONFIGURATION)
    assert f"{folder} lacks " in str(missing.value) and f"{name} (from " in str(missing.value)
    assert "bert-base-uncased (from the Hugging Face hub)" in str(missing.value)


class Net(torch.nn.Module):
    """A bridge between two frozen models, as LAVIS names them."""

    def __init__(self):
        super().__init__()
        self.visual_encoder, self.t5_model, self.t5_proj = (torch.nn.Linear(2, 2) for _ in range(3))


def test_a_checkpoint_that_leaves_the_bridge_random_is_refused(worker):
    net = Net()
    bridge = {name: value for name, value in net.state_dict().items() if name.startswith("t5_proj")}
    with worker.bridge_found(Net):
        net.load_state_dict(bridge, strict=False)
        with pytest.raises(ValueError, match=r"no weights for t5_proj\.bias: is it another model's"):
            net.load_state_dict(
                {"t5_proj.weight": bridge["t5_proj.weight"], "opt_proj.weight": 1}, strict=False
            )
    assert "load_state_dict" not in vars(Net)


def test_a_picture_passes_the_vision_tower_once_for_all_questions(worker):
    passed = []
    tower = torch.nn.Identity()
    tower.forward = lambda pixels: passed.append(len(pixels)) or pixels + 1
    worker.once(tower)
    first, second = torch.zeros(3, 2), torch.zeros(4, 2)
    assert [tower(first).sum(), tower(first).sum(), tower(second).sum()] == [6, 6, 8]
    assert passed == [3, 4]
