"""The data set of the tiny world with rendered pictures beside its photographs, and without them again."""

import json

import polars as pl
import pytest
import yaml

from curation.frames import LABELS
from facs import COLUMNS
from miniature import balanced_set
from pipelines import profiles, runs
from provenance.counterfactual import counterfactual
from provenance.moments import Moment
from provenance.why import why
from store import Store

PICTURES = 54
REAL = pl.col("source") != "rendered"
pytestmark = [pytest.mark.graph, pytest.mark.timeout(1800)]


@pytest.fixture
def run(world, tmp_path, monkeypatch):
    """A run up to the latents, sections of its profile changed; the home."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    home = tmp_path / "home"

    def to_the_latents(**changes) -> Store:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(world.profile.read_text()) | changes))
        profile = profiles.load(str(path), home)
        with runs.instance(home) as opened:
            outcome = runs.run(runs.plan(profile, home, "+latents"), opened)
        assert not outcome.failed, outcome
        return Store(home)

    return to_the_latents


def hashes(store: Store, *tables: str) -> dict[str, str | None]:
    return {name: store.content_hash(name) for name in tables}


def test_rendered_pictures_come_in_with_their_labels_and_go_without_a_trace(run):
    store = run()
    tables = ("face_crop", "captions", "au_statistics", "au_corrections", "training_set", "latents")
    alone, without = store.read("training_set"), hashes(store, *tables)
    assert store.read("raw_rendered").is_empty() and not (store.home / "memo" / "renderings").exists()

    store = run(rendered={"pictures": PICTURES, "share": 0.25})
    table, plan = store.read("training_set"), balanced_set.plan(PICTURES)
    assert table.filter(REAL).equals(alone), "no photograph's split, label or caption moves"
    rendered = table.filter(~REAL)
    assert rendered["sample_id"].to_list() == [f"rendered/{name}" for name in plan["picture_id"]]
    labels = plan.select(pl.col(label).alias(column) for label, column in zip(LABELS, COLUMNS, strict=True))
    assert rendered.select(COLUMNS).equals(labels), "exact, not corrected"
    assert rendered["caption"].to_list() == plan["caption"].to_list(), "not BLIP-2's"
    for name in ("resolution", "photorealism", "au_annotation", "au_corrections"):
        assert store.read(name).filter(source="rendered").is_empty()
    assert store.content_hash("au_corrections") == without["au_corrections"]
    kept = rendered.filter("keep")
    assert kept.group_by("subject").agg(pl.col("split").n_unique())["split"].max() == 1
    for (split,), rows in table.filter("keep").group_by("split"):
        assert rows.filter(~REAL).height <= rows.height / 4, split
    assert set(kept["sample_id"]) <= set(store.read("latents").filter("keep")["sample_id"])

    sample = kept.sort("sample_id")["sample_id"][0]
    told = json.loads(why(store, sample, Moment(store)).as_json())
    assert {value["origin"] for value in told["values"]} == {"rendered"}
    assert [step["stage"] for step in told["steps"]][:3] == ["raw_rendered", "face_crop", "captions"]
    found = counterfactual(Moment(store), sample, "rendered.share=0")
    assert found.before.kept and not found.after.kept and found.after.reason == "beyond_share"

    asked = len(store.memo("renderings").read())
    assert asked == PICTURES and hashes(run(), *tables) == without
