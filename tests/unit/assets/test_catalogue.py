"""What stands beside a table in the UI: lineage of columns, owners, the app's view, answers of a run."""

import dagster as dg
import polars as pl
import pytest

import stages
from assets import catalogue, stage


def test_columns_are_made_of_columns_that_are_declared():
    for name, made in catalogue.MADE_OF.items():
        own = {**stages.named(name).columns, **stages.named(name).optional}
        for column, sources in made.items():
            assert column in own, f"{name}.{column}"
            for source in sources:
                table, _, upstream = source.partition(".")
                assert upstream in stages.named(table).columns, source


def test_what_is_handed_on_comes_from_the_first_table_that_has_it():
    found = catalogue.columns("resolution", ["sample_id", "width", "keep"], ["face_crop"])
    assert {name: [(d.asset_key.to_user_string(), d.column_name) for d in deps] for name, deps in
            found.deps_by_column.items()} == {
        "sample_id": [("face_crop", "sample_id")],
        "width": [("face_crop", "width")],
    }  # fmt: skip
    assert catalogue.columns("raw_folder", ["sample_id"], []) is None


def test_a_label_is_made_of_reading_frame_and_word():
    deps = catalogue.columns("training_set", ["au4"], ["au_corrections"]).deps_by_column["au4"]
    assert {(one.asset_key.to_user_string(), one.column_name) for one in deps} == {
        ("au_corrections", "au4"),
        ("raw_disfa", "label_au4"),
        ("raw_rendered", "label_au4"),
        ("overrides", "value"),
    }


def test_a_column_of_the_same_name_may_be_another_thing():
    read = ["trained_editors", "training_set"]
    found = catalogue.columns("edited_samples", ["sample_id", "source_id", "file"], read)
    of = {name: {str(d.column_name) for d in deps} for name, deps in found.deps_by_column.items()}
    assert of == {"source_id": {"sample_id"}, "file": {"model_hash", "content_hash"}}, (
        "edits have ids of their own"
    )


@pytest.mark.parametrize(
    ("name", "partition", "there"),
    [
        ("photorealism", None, "/audit?stage=photorealism"),
        ("training_set", None, "/data"),
        ("overrides", None, "/audit?overruled=yes"),
        ("trained_model", "fineface", "/?experiment=fineface"),
        ("au_scores", "fineface", "/results"),
        ("results", None, "/results"),
        ("edit_results", None, "/edit"),
    ],
)
def test_a_stage_links_to_the_apps_view_of_it(name, partition, there, monkeypatch):
    assert catalogue.view(stages.named(name), partition) == f"http://127.0.0.1:7860{there}"
    monkeypatch.setenv("FINEFACE_APP", "http://localhost:9000/")
    assert catalogue.view(stages.named(name), partition) == f"http://localhost:9000{there}"


def test_a_run_adds_up_the_answers_of_its_stages():
    table = pl.DataFrame(
        schema={name: column.dtype for name, column in stages.named("captions").columns.items()}
    )

    @stage.asset(code_version="1", kinds={"polars"})
    def captions(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return stage.result(table, model_calls=3, reused=4)

    @stage.asset(code_version="1", deps=[captions])
    def latents(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        empty = {name: column.dtype for name, column in stages.named("latents").columns.items()}
        return stage.result(pl.DataFrame(schema=empty), model_calls=1, reused=2)

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([captions, latents], instance=instance, raise_on_error=False)
        tags = instance.get_run_by_id(done.run_id).tags
    assert (tags["fineface/answers_made"], tags["fineface/answers_reused"]) == ("4", "6")
    spec = captions.specs_by_key[dg.AssetKey("captions")]
    assert list(spec.owners) == [f"team:{stages.named('captions').group}"] and spec.kinds == {
        "polars",
        "deltalake",
    }
    metadata = done.asset_materializations_for_node("captions")[0].metadata
    assert metadata["in_the_app"].value.endswith("/audit?stage=captions")
