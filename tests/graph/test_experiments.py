"""Table 1 in the tiny world, by command, after fineface and sd: the other methods, one of them trained beside
what the base draws; and an experiment whose text and AUs guide apart.
"""

import re
import shutil
import subprocess

import pytest
import tiny_world
import yaml

from store import Store

pytestmark = [pytest.mark.graph, pytest.mark.timeout(3600)]
PAPER = {"sd": "6.98", "db": "7.19", "lora_t": "7.45", "lora_au": "6.82", "fineface": "4.71"}
"""AU-MSE of individual samples (paper, Table 1)."""


OTHERS = ("db", "lora_t", "lora_au", "apart")


@pytest.fixture(scope="module")
def compared(world, first_run, tmp_path_factory):
    """What a run of OTHERS printed in a home that has fineface and sd, and that home."""
    folder = tmp_path_factory.mktemp("table1")
    shutil.copytree(first_run[1], folder / "home")
    said = yaml.safe_load(world.profile.read_text())
    fineface = said["experiments"]["fineface"]
    said["training"] = {"rank": 2, "alpha": 2, "steps": 2, "batch_size": 4}
    said["training"] |= {"validate_every": 0, "sample_every": 0}
    said["experiments"] |= {
        "db": {"train": {"class_images": {"count": 5}}},
        "apart": fineface | {"sample": {"text_guidance": 3}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(said))
    chosen = [word for name in OTHERS for word in ("--experiment", name)]
    words = ["--experiments", "table1,apart", "--select", "experiment,results", *chosen]
    run = tiny_world.start(folder / "tiny.yaml", folder / "home", *words, log=subprocess.PIPE)
    return tiny_world.finished(run), Store(folder / "home")


def test_every_method_is_trained_drawn_and_scored_and_printed_in_the_papers_order(compared):
    output, store = compared
    assert set(store.read("results")["experiment"]) == {*PAPER, "apart"}
    assert re.findall(r"^experiment (\w+)$", output, re.MULTILINE) == [*OTHERS]
    for name in ("db", "lora_t", "lora_au"):
        trained = store.read(f"trained_model/{name}").row(0, named=True)
        assert trained["steps"] == 2 and trained["method"] == name
        assert store.read(f"au_scores/{name}")["au12"].is_finite().all()
    table = output[output.index("\nTable 1 ") :].strip().split("\n\n")[0].splitlines()[1:]
    assert [line.split()[0] for line in table] == [*PAPER]
    assert all(number in line.split() for line, number in zip(table, PAPER.values(), strict=True)), table


def test_class_images_are_drawn_with_training_captions_for_the_method_that_asks_for_them(compared):
    output, store = compared
    drawn = store.read("class_images/db")
    assert drawn["sample_id"].n_unique() == drawn["picture"].n_unique() == 5
    assert set(drawn["caption"]) <= set(store.read("training_set").filter(split="train")["caption"])
    calls = re.findall(r"^  class_images .*?(\d+) model calls", output, re.MULTILINE)
    assert calls == ["10"], "five pictures and their latents"
    assert all(store.read(f"class_images/{name}").is_empty() for name in OTHERS if name != "db")


def test_the_base_is_drawn_at_the_guidance_of_the_text(compared):
    """It is told no AUs. The model is the one that guides both alike."""
    _, store = compared
    drawn = store.read("generated_samples/apart")
    guided = dict(drawn.select("kind", "guidance").unique().iter_rows())
    assert guided.pop("base") == 3.0 and set(guided.values()) <= {2.0, 4.0}
    models = [store.read(f"trained_model/{name}")["model_hash"].item() for name in ("apart", "fineface")]
    assert models[0] == models[1]
    pictures = [
        store.read(f"generated_samples/{name}").filter(kind="individual").sort("sample_id")["file"]
        for name in ("apart", "fineface")
    ]
    assert (pictures[0] != pictures[1]).all()
