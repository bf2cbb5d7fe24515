"""Table 1 in the tiny world, by command: five methods, one of them trained beside what the base draws; and an
experiment whose text and AUs guide apart.
"""

import re
import subprocess

import pytest
import tiny_world

from store import Store

pytestmark = [pytest.mark.graph, pytest.mark.timeout(3600)]
PAPER = {"sd": "6.98", "db": "7.19", "lora_t": "7.45", "lora_au": "6.82", "fineface": "4.71"}
"""AU-MSE of individual samples (paper, Table 1)."""


@pytest.fixture(scope="module")
def compared(world, tmp_path_factory):
    """What a run of table1 and `apart` printed, and its home."""
    folder = tmp_path_factory.mktemp("table1")
    tiny_world.raw.write_affectnet(folder / "raw" / "affectnet", images=40)
    tiny_world.raw.write_disfa(folder / "raw" / "disfa", subjects=("SN001",), frames=10)
    profile = tiny_world.write_profile(
        folder / "tiny.yaml",
        world.models,
        folder / "raw",
        training={"rank": 2, "alpha": 2, "steps": 2, "batch_size": 4, "validate_every": 0, "sample_every": 0},
        experiments={
            "db": {"train": {"class_images": {"count": 5}}},
            "apart": {"train": {"method": "fineface"}, "sample": {"text_guidance": 2}},
        },
    )
    path = folder / "tiny.yaml"
    path.write_text(re.sub(r"guidance_candidates:(\n  - \d)+", "guidance_candidates: [3]", path.read_text()))
    process = tiny_world.start(profile, folder / "home", "--experiments", "table1,apart", log=subprocess.PIPE)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output, Store(folder / "home")


def test_every_method_is_trained_drawn_and_scored_and_printed_beside_the_paper(compared):
    output, store = compared
    assert set(store.read("results")["experiment"]) == {*PAPER, "apart"}
    for name, number in PAPER.items():
        trained = store.read(f"trained_model/{name}").row(0, named=True)
        assert trained["steps"] == (0 if name == "sd" else 2) and trained["method"] == name
        assert store.read(f"au_scores/{name}")["au12"].is_finite().all()
        assert re.search(rf"^\s*{name} .*\b{number}\b", output, re.MULTILINE), output


def test_class_images_are_drawn_with_training_captions_for_the_method_that_asks_for_them(compared):
    output, store = compared
    drawn = store.read("class_images/db")
    assert drawn["sample_id"].n_unique() == drawn["picture"].n_unique() == 5
    assert set(drawn["caption"]) <= set(store.read("training_set").filter(split="train")["caption"])
    calls = re.findall(r"^  class_images .*?(\d+) model calls", output, re.MULTILINE)
    assert calls == ["10"], "five pictures and their latents"
    assert all(store.read(f"class_images/{name}").is_empty() for name in PAPER if name != "db")


def test_the_base_is_drawn_at_the_guidance_of_the_text(compared):
    """It is told no AUs. The model is the one that guides both alike."""
    _, store = compared
    drawn = store.read("generated_samples/apart")
    guided = dict(drawn.select("kind", "guidance").unique().iter_rows())
    assert guided.pop("base") == 2.0 and set(guided.values()) == {3.0}
    models = [store.read(f"trained_model/{name}")["model_hash"].item() for name in ("apart", "fineface")]
    assert models[0] == models[1]
    pictures = [
        store.read(f"generated_samples/{name}").filter(kind="individual").sort("sample_id")["file"]
        for name in ("apart", "fineface")
    ]
    assert (pictures[0] != pictures[1]).all()
