"""A home's data set for other tools: written whole, read by them, with cards that say what has to be said."""

import csv
import io
import json
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from types import SimpleNamespace

import polars as pl
import pyarrow.parquet as pq
import pytest
import tiny_export
from PIL import Image

import facs
from exports import formats
from exports.licences import NotPassedOn
from pipelines import exporting
from pipelines.exporting import ExportError

PROFILE = SimpleNamespace(
    title="Twelve faces",
    notice="A notice.",
    raw=SimpleNamespace(affectnet=None, disfa=None),
    corrections=SimpleNamespace(recipe="paper"),
)


@pytest.fixture
def store(tmp_path):
    return tiny_export.write_home(tmp_path)


def export(store, folder, form="parquet", **options):
    exporting.export(store, PROFILE, folder, form, own_use=True, **options)
    return folder


def test_parquet_holds_pictures_and_typed_columns(store, tmp_path):
    folder = export(store, tmp_path / "out")
    names = sorted(path.name for path in (folder / "data").iterdir())
    assert names == ["train-00000-of-00001.parquet", "validation-00000-of-00001.parquet"]
    table = pq.read_table(folder / "data" / names[0])
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"} and features["au12"]["dtype"] == "float32"
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    assert len(rows) == 8
    first = rows["affectnet/0.jpg"]
    assert first["image"]["bytes"] == tiny_export.picture(0) and first["overruled"] == [12]
    assert rows["affectnet/4.jpg"]["au12"] == 2.0 and rows["affectnet/4.jpg"]["au9"] is None
    assert Image.open(io.BytesIO(rows["disfa/8.jpg"]["image"]["bytes"])).size == (12, 12)


def test_webdataset_has_one_kind_of_picture(store, tmp_path):
    folder = export(store, tmp_path / "out", "webdataset")
    with tarfile.open(folder / "data" / "train-00000-of-00001.tar") as archive:
        names = archive.getnames()
        said = json.loads(archive.extractfile(names[1]).read())
    assert {name.rpartition(".")[2] for name in names} == {"png", "json"} and len(names) == 16
    assert names[0].removesuffix(".png") == names[1].removesuffix(".json")
    assert said["caption"].startswith("picture") and set(facs.COLUMNS) <= set(said)


def test_the_folder_s_lines_name_its_pictures(store, tmp_path):
    folder = export(store, tmp_path / "out", "fiftyone")
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    for row in rows:
        assert Image.open(folder / "data" / row["filepath"]).width in (12, tiny_export.SIDE)
    assert {row["au9"] for row in rows} == {"", "1.0"}


def test_the_same_data_set_is_the_same_bytes(store, tmp_path):
    for form in exporting.FORMATS:
        first, second = (export(store, tmp_path / f"{form}{turn}", form) for turn in (1, 2))
        files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
        assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
        for name in files:
            assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_a_killed_export_goes_on_and_shows_nothing_half(store, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "SHARD", 3)

    def killed(done, total):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(store, tmp_path / "out", progress=killed)
    assert not (tmp_path / "out").exists()
    written = []
    genuine = pq.ParquetWriter
    monkeypatch.setattr(pq, "ParquetWriter", lambda *args: written.append(args) or genuine(*args))
    folder = export(store, tmp_path / "out")
    assert len(list((folder / "data").iterdir())) == 4 and 0 < len(written) < 4
    assert pl.read_parquet(folder / "data" / "*.parquet").height == 9
    assert not list(tmp_path.glob(".half-*"))


def test_cards_say_what_has_to_be_said_and_name_no_place_of_this_machine(store, tmp_path):
    row = {"experiment": "fineface", "method": "fineface", "folder": "files/adapters/k/output/model"}
    row |= {"model_hash": "abc", "steps": 10, "final_loss": 0.5, "samples": 8}
    settings = {
        "base": {"model": "/home/me/sd"},
        "experiments": {"fineface": {"train": {"rank": 4}}},
    }
    commit = {"settings": settings, "upstream": {"training_set": 0}}
    store.write("trained_model/fineface", pl.DataFrame([row]), commit)
    results = pl.DataFrame(
        [{"experiment": "fineface", "kind": "individual", "metric": "au_mse_prompted", "value": 1.5}]
    ).with_columns(judge=pl.lit("labeller"), low=pl.lit(1.2), high=pl.lit(1.9), n=pl.lit(9))
    store.write("results", results)
    folder = export(store, tmp_path / "out")
    card, page = (folder / "README.md").read_text(), (folder / "models" / "fineface.md").read_text()
    for words in (
        "**Not to be passed on.** AffectNet and DISFA",
        "> A notice.",
        "read by reader (f00d)",
        "rare",
    ):
        assert words in card
    assert "| AU9 | Nose Wrinkler | 2 | 2 | 1.00 |  |" in card
    assert "| rank | 4 |" in page and "the one in this folder" in page and "1.50 [1.20, 1.90]" in page
    assert "AffectNet and DISFA" in page
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(tmp_path).encode() not in content and b"/home/me" not in content, path


def test_what_forbids_it_is_told_before_anything_is_written(store, tmp_path):
    with pytest.raises(NotPassedOn, match="--own-use"):
        exporting.export(store, PROFILE, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="not empty"):
        export(store, tmp_path / "full")
    with pytest.raises(ExportError, match="--without-pictures goes with parquet"):
        export(store, tmp_path / "out", "webdataset", with_pictures=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "home", "raw"]


def test_labels_alone_hold_no_picture(store, tmp_path):
    folder = export(store, tmp_path / "out", with_pictures=False)
    table = pq.read_table(folder / "data" / "train-00000-of-00001.parquet")
    assert "image" not in table.column_names and "content_hash" in table.column_names
    assert "| `image` |" not in (folder / "README.md").read_text()


def test_datasets_reads_pictures_and_intensities(store, tmp_path):
    datasets = pytest.importorskip("datasets", reason="extra exports")
    for form, picture in (("parquet", "image"), ("webdataset", "png")):
        folder = export(store, tmp_path / form, form)
        found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
        assert {name: part.num_rows for name, part in found.items()} == {"train": 8, "validation": 1}
        rows = [row.get("json") or row for row in found["train"]]
        assert {row["sample_id"]: row["au12"] for row in rows}["affectnet/4.jpg"] == 2.0
        assert found["train"][0][picture].size in ((12, 12), (tiny_export.SIDE, tiny_export.SIDE))


READ_CROISSANT = """
import json, sys
import mlcroissant
folder, form = sys.argv[1:]
found = mlcroissant.Dataset(folder + "/croissant.json")
context = found.metadata.ctx
rows = {} if form == "webdataset" else {
    row["default/sample_id"].decode(): float(row["default/au12"]) for row in found.records("default")
}
print(json.dumps({
    "issues": [*map(str, context.issues.errors), *map(str, context.issues.warnings)],
    "is_v1_1": context.is_v1_1(),
    "biases": bool(found.metadata.data_biases),
    "version": found.metadata.version,
    "rows": rows,
}))
"""


@pytest.mark.parametrize("form", exporting.FORMATS)
def test_croissant_is_valid_and_read(store, tmp_path, form):
    if find_spec("mlcroissant") is None:
        pytest.skip("extra exports")
    folder = export(store, tmp_path / "out", form)
    # In a process of its own: its log keeps a stderr that a test must not leave behind.
    done = subprocess.run(
        [sys.executable, "-c", READ_CROISSANT, str(folder), form], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["issues"] and found["is_v1_1"] and found["biases"] and found["version"] == "1.0.0"
    if form != "webdataset":  # it reads no JSON in archives
        assert len(found["rows"]) == 9 and found["rows"]["affectnet/4.jpg"] == 2.0
    said = json.loads((folder / "croissant.json").read_text())
    assert [one["prov:label"] for one in said["prov:wasDerivedFrom"]] == ["AffectNet", "DISFA"]
    assert said["prov:wasGeneratedBy"][0]["prov:label"].startswith("training_set, version 0, run r1")
    assert any("may be passed on" in sentence for sentence in said["usageInfo"])


def test_rendered_faces_are_told_as_exact_and_may_be_passed_on(tmp_path):
    """Beside them AffectNet's may still not."""
    store = tiny_export.write_home(tmp_path)
    table = store.read("training_set")
    rendered = table.filter(source="disfa").with_columns(
        source=pl.lit("rendered"),
        sample_id=pl.lit("rendered/000001/") + pl.int_range(pl.len()).cast(pl.String),
    )
    store.write("training_set", pl.concat([table, rendered]), {"run_id": "r2", "code_version": "2"})
    with pytest.raises(NotPassedOn, match="AffectNet and DISFA may not"):
        exporting.export(store, PROFILE, tmp_path / "refused")
    folder = export(store, tmp_path / "out")
    rows = pq.read_table(folder / "data" / "train-00000-of-00001.parquet").to_pylist()
    who = {row["source"]: row["annotator"] for row in rows}
    assert who["rendered"] == "exact" and who["disfa"] == "manual"
    card = (folder / "README.md").read_text()
    assert "Rendered faces carry the intensities that they were rendered with." in card
    assert "rendered faces" in card and "CC0 (MakeHuman)" in card
    store.write("training_set", rendered, {"run_id": "r3", "code_version": "2"})
    exporting.export(store, PROFILE, tmp_path / "open")
    assert len(pq.read_table(tmp_path / "open" / "data" / "train-00000-of-00001.parquet")) == 2
