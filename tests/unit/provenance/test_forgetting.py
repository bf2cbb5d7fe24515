"""A sample is forgotten: nothing of it is left in the home, in no version of anything, but a tombstone."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load, save

from curation import forgotten
from pipelines import run_log
from provenance import forgetting
from provenance.keeping import needed, questions_lost
from provenance.moments import Moment
from provenance.story import render
from provenance.why import why
from reasons import Reason
from store import MissingTable, Store, hash_bytes
from store.history import cost, prune

PIXELS = b"\x89PNG pixels of a face" + bytes(range(256))


@pytest.fixture
def home(audited, tmp_path):
    """A copy of the home, and in it a frame whose picture, answers and latents are there."""
    shutil.copytree(audited.home, tmp_path / "home")
    store = Store(tmp_path / "home")
    shards = store.files("latents")
    frame = (
        store.read("training_set").filter(pl.col("keep"), source="disfa", split="train").row(3, named=True)
    )
    sample, content = frame["sample_id"], hash_bytes(PIXELS)
    name = store.files("frames").put(PIXELS, ".png")
    for stage in ("raw_disfa", "face_crop", "training_set", "captions"):
        table = store.read(stage)
        mine = pl.col("sample_id") == sample
        changed = {"file": name, "content_hash": content}
        table = table.with_columns(
            pl.when(mine).then(pl.lit(value)).otherwise(column).alias(column)
            for column, value in changed.items()
        )
        store.write(stage, table, {"run_id": "later", "upstream": {}})
    moments = np.arange(12, dtype=np.float32).reshape(3, 4) + 1
    shard = shards.put(save({"moments": moments}), ".safetensors")
    rows = pl.DataFrame(
        {
            "key": ["a", "b", "c"],
            "file": shard,
            "row": [0, 1, 2],
            "content_hash": ["x" * 32, content, "y" * 32],
        }
    )
    store.memo("latents").get_or_compute(rows.select("key"), lambda asked: rows, chunk=9)
    answers = pl.DataFrame(
        {"key": ["q", "r"], "caption": ["seen", "another"], "content_hash": [content, "z" * 32]}
    )
    store.memo("captions").get_or_compute(answers.select("key"), lambda asked: answers, chunk=9)
    (store.home / "photorealism.html").write_bytes(b"a page with " + PIXELS)
    return store, sample, content


def test_what_editors_made_of_a_face_goes_with_it(home):
    store, sample, content = home
    kept = "w" * 32
    names = [store.files("edited").put(PIXELS + bytes([number]), ".png") for number in range(3)]
    asked = pl.DataFrame(
        {"key": ["1", "2", "3"], "file": names, "kept": 0.5, "content_hash": [content, content, kept]}
    )
    store.memo("edited").get_or_compute(asked.select("key"), lambda rows: asked, chunk=9)
    read = asked.select("key", au12=pl.lit(1.0), content_hash=pl.col("file").str.head(32))
    store.memo("action_units").get_or_compute(read.select("key"), lambda rows: read, chunk=9)
    rows = pl.DataFrame(
        {
            "editor": "ganimation",
            "sample_id": ["unchanged/000/same", "unchanged/001/same"],
            "source_id": [sample, "affectnet/1/other.jpg"],
            "source_hash": [content, kept],
            "file": names[1:],
        }
    )
    store.write("edited_samples", rows, {"run_id": "later", "upstream": {}})
    done = forgetting.forget(store, [sample], "asked by letter", "Ada")
    files = store.files("edited")
    assert [files.has(name) for name in names] == [False, False, True]
    assert done.answers["edited"] == 2 and done.answers["action_units"] == 2
    assert store.read("edited_samples")["source_hash"].to_list() == [kept]
    tombstone = store.read(forgotten.TABLE).row(0, named=True)
    assert not {name[:32] for name in names} & {*tombstone["content_hashes"]}


def everything(folder):
    """Every byte below a folder, tables and shards unpacked too."""
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            yield path, content
            if path.suffix == ".parquet":
                yield path, json.dumps(pl.read_parquet(path).to_dicts(), default=str).encode()


def test_nothing_is_left_but_the_tombstones_hashes(home):
    store, sample, content = home
    before = {stage: store.version(stage) for stage in store.stages()}
    done = forgetting.forget(store, forgetting.samples_of(store, sample), "asked by letter", "Ada")
    assert done.samples == (sample,) and done.left == [] and len(done.trained_on) == 2
    for path, held in everything(store.home):
        assert sample.encode() not in held, path
        assert PIXELS not in held, path
        if "forgotten" not in path.parts:
            assert content.encode() not in held, path
    assert {stage: store.version(stage) for stage in before} == before, "versions keep their numbers"
    tombstone = store.read("forgotten").row(0, named=True)
    assert tombstone["sample_hash"] == forgotten.sample_hash(sample)
    assert tombstone["reason"] == "asked by letter" and tombstone["author"] == "Ada"
    told = render(why(store, sample))
    assert told.splitlines()[1].startswith("FORGOTTEN, as was asked by Ada on 20")
    assert all(key in told for key in done.trained_on)
    assert forgetting.forget(store, [sample], "again", "Ada").versions == {}, "nothing is left to be done"


def test_the_latents_of_others_stay_where_they_are(home):
    store, sample, _ = home
    forgetting.forget(store, [sample], "asked", "Ada")
    rows = store.memo("latents").read().sort("key")
    assert rows["key"].to_list() == ["a", "c"] and rows["row"].to_list() == [0, 2]
    moments = load(store.files("latents").read(rows["file"][0]))["moments"]
    assert moments[0].tolist() == [1, 2, 3, 4] and moments[2].tolist() == [9, 10, 11, 12]
    assert not moments[1].any()
    assert store.memo("captions").read()["key"].to_list() == ["r"]


def test_times_and_commits_of_all_versions_stay(home):
    store, sample, _ = home
    before = store.history("training_set")
    forgetting.forget(store, [sample], "asked", "Ada")
    after = store.history("training_set")
    assert [one["timestamp"] for one in after] == [one["timestamp"] for one in before]
    assert [one["metadata"]["run_id"] for one in after] == [one["metadata"]["run_id"] for one in before]
    for version in range(store.version("training_set") + 1):
        rows = store.read("training_set", version)
        assert sample not in rows["sample_id"] and rows.height == int(
            next(one for one in after if one["version"] == version)["metadata"]["rows"]
        )


def test_a_picture_that_comes_back_is_dropped_without_its_name(home):
    store, sample, _ = home
    raw = store.read("raw_disfa")
    forgetting.forget(store, [sample], "asked", "Ada")
    table = forgotten.drop(raw, store.read("forgotten"))
    assert table.height == raw.height and sample not in table["sample_id"]
    (row,) = table.filter(pl.col("reason_code") == Reason.FORGOTTEN.value).to_dicts()
    assert not row["keep"] and row["sample_id"] == forgotten.pseudonym(sample)
    assert {value for name, value in row.items() if name not in forgotten.NAMED} == {None}
    renamed = raw.filter(sample_id=sample).with_columns(pl.lit("disfa/SN099/1").alias("sample_id"))
    assert not forgotten.drop(renamed, store.read("forgotten"))["keep"][0], "by its content, too"


def test_dagsters_log_holds_neither_names_nor_pictures(tmp_path):
    import sqlite3

    sample = "affectnet/3/ab12.jpg"
    folder = tmp_path / "dagster" / "history"
    folder.mkdir(parents=True)
    event = json.dumps({"sheet": "![x](data:image/png;base64,iVBORw0KGgo=)", "example": sample, "kept": 7})
    with sqlite3.connect(folder / "run.db") as database:
        database.execute("CREATE TABLE event_logs (id INTEGER PRIMARY KEY, event TEXT)")
        database.execute("INSERT INTO event_logs (event) VALUES (?)", (event,))
    assert run_log.forget(tmp_path, [sample]) == ["dagster/history/run.db"]
    held = (folder / "run.db").read_bytes()
    assert sample.encode() not in held and b"iVBORw0KGgo" not in held
    (text,) = sqlite3.connect(folder / "run.db").execute("SELECT event FROM event_logs").fetchone()
    assert json.loads(text)["kept"] == 7 and json.loads(text)["example"] == "forgotten"


@pytest.mark.parametrize(("reason", "author"), [("", "Ada"), ("asked", " ")])
def test_forgetting_needs_a_reason_and_an_author(home, reason, author):
    store, sample, _ = home
    with pytest.raises(ValueError, match="forgetting needs a"):
        forgetting.forget(store, [sample], reason, author)


def test_pruning_says_its_cost_keeps_what_is_needed_and_names_what_is_lost(audited, tmp_path):
    shutil.copytree(audited.home, tmp_path / "home")
    store = Store(tmp_path / "home")
    costs = cost(store, needed(store, 1))
    assert {one.stage for one in costs} >= {"training_set", "au_corrections"}
    assert all(one.versions == (0,) and one.size > 0 for one in costs)
    assert "raw_disfa" not in {one.stage for one in costs}, "it has one version only"
    assert any("what 1 runs left" in line for line in questions_lost(store, costs))
    new = store.read("training_set")
    sample = new.filter("keep")["sample_id"][0]
    before = sum(path.stat().st_size for path in store.home.rglob("*") if path.is_file())
    prune(costs)
    after = sum(path.stat().st_size for path in store.home.rglob("*") if path.is_file())
    assert before - after == sum(one.size for one in costs)
    assert Store(store.home).read("training_set").equals(new) and cost(store, needed(store, 1)) == []
    with pytest.raises(MissingTable, match=r"version 0 of stage .* no longer kept"):
        why(store, sample, "training_set@0")
    assert why(store, sample).verdict.keep and Moment(store, "0").version("training_set") == 0
