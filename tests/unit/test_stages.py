"""The declared stages: one list for graph, checks, funnel and docs; what a table must be."""

import functools
from datetime import UTC, datetime

import dagster as dg
import polars as pl
import pytest

import facs
import stages
from pipelines import definitions, documentation, profiles
from stages import STAGES, Group


def table(name: str, *rows: dict) -> pl.DataFrame:
    """Rows of a stage's table; columns not given are null, or the first word or number allowed."""
    declared = stages.named(name)
    schema = {column: kind.dtype for column, kind in declared.columns.items()}
    return pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows], schema=schema)


KEPT = {"sample_id": "folder/a.png", "source": "folder", "keep": True, "file": "a", "content_hash": "h"}


def test_the_graph_is_what_is_declared(tmp_path):
    graph = definitions.build(profiles.load("miniature", tmp_path), tmp_path).resolve_asset_graph()
    found = {key.path[-1]: graph.get(key) for key in graph.get_all_asset_keys()}
    assert set(found) == {stage.name for stage in STAGES}
    for stage in STAGES:
        assert found[stage.name].group_name == stage.group, stage.name
        assert found[stage.name].is_partitioned == stage.per_experiment, stage.name


def test_the_order_is_one_in_which_they_can_run(tmp_path):
    graph = definitions.build(profiles.load("miniature", tmp_path), tmp_path).resolve_asset_graph()
    names = [stage.name for stage in STAGES]
    for number, name in enumerate(names):
        parents = {key.path[-1] for key in graph.get(dg.AssetKey(name)).parent_keys}
        assert parents <= set(names[:number]), f"{name} reads a later stage"


def test_what_a_stage_reads_is_in_a_profile(tmp_path):
    profile = profiles.load("miniature", tmp_path)
    for stage in STAGES:
        for read in stage.reads:
            functools.reduce(getattr, read.split("."), profile)


def test_the_funnel_is_the_chain_of_filters():
    assert stages.FUNNEL == (
        "raw_affectnet", "raw_disfa", "raw_folder", "raw_rendered", "face_crop", "resolution", "photorealism",
        "au_annotation", "captions", "au_corrections", "training_set",
    )  # fmt: skip


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_column_says_what_it_holds_and_an_empty_table_is_sound(stage):
    for name, column in {**stage.columns, **stage.optional}.items():
        assert column.description and column.description.endswith("."), name
    assert stage.complaints(table(stage.name)) == {} and stage.undeclared(table(stage.name)) == []


def test_a_sound_row_is_as_declared():
    assert stages.named("captions").complaints(table("captions", {**KEPT, "caption": "a face"})) == {}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"source": "flickr"}, "source: check__known"),
        ({"sample_id": None}, "sample_id: nullability"),
        ({"reason_code": "too small"}, "reason_code: check__known"),
        ({"keep": False}, "dropped_for_a_reason"),
    ],
)
def test_a_row_that_is_not_as_declared_is_named_by_its_rule(change, rule):
    found = stages.named("captions").complaints(table("captions", {**KEPT, "caption": "a", **change}))
    assert found == {rule: 1}


def test_an_id_that_is_there_twice_is_told():
    assert stages.named("captions").complaints(table("captions", KEPT, KEPT)) == {"primary_key": 2}


@pytest.mark.parametrize("value, rule", [(5.01, "au4: max"), (-0.1, "au4: min"), (float("nan"), "au4: nan")])
def test_intensities_lie_on_the_scale(value, rule):
    sound = KEPT | dict.fromkeys(facs.COLUMNS, 5.0) | {"faces": 1}
    declared = stages.named("au_annotation")
    assert declared.complaints(table("au_annotation", sound)) == {}
    assert rule in declared.complaints(table("au_annotation", sound | {"au4": value}))


def test_columns_are_missing_wrong_or_not_declared():
    given = table("captions", KEPT).drop("caption").with_columns(keep=pl.lit("yes"), mood=pl.lit("good"))
    declared = stages.named("captions")
    assert declared.complaints(given) == {"caption: missing": 1, "keep: String, not Boolean": 1}
    assert declared.undeclared(given) == ["mood"]


def test_columns_of_some_recipes_only_are_held_to_their_ranges():
    declared = stages.named("au_corrections")
    given = table("au_corrections", KEPT)
    assert declared.complaints(given.with_columns(au4_mapped=pl.lit(2.0))) == {}
    assert declared.complaints(given.with_columns(au4_mapped=pl.lit(7.0))) == {"au4_mapped: max": 1}
    assert declared.undeclared(given.with_columns(au4_mapped=pl.lit(2.0))) == []


def test_overrides_are_declared_as_they_are_written():
    from curation import overrides

    row = overrides.override("a", "photorealism", "drop", "Ada", "wax", datetime.now(UTC))
    assert stages.named("overrides").complaints(row) == {} and not stages.named("overrides").undeclared(row)


def test_acceptances_are_declared_as_they_are_written():
    from curation import acceptances

    row = acceptances.acceptance("sound", "captions", "hash", "empty 3", "Ada", "known", datetime.now(UTC))
    declared = stages.named("acceptances")
    assert declared.complaints(row) == {} and not declared.undeclared(row)
    with pytest.raises(ValueError, match="an acceptance needs a reason"):
        acceptances.acceptance("sound", "captions", "hash", "empty 3", "Ada", " ", datetime.now(UTC))


def test_an_unknown_stage_is_told_with_the_known_ones():
    with pytest.raises(KeyError, match="no stage 'resolutions'; there are forgotten, raw_affectnet"):
        stages.named("resolutions")
    assert {stage.name for stage in STAGES if stage.group == Group.RESULTS} == {"comparisons", "results"}


@pytest.mark.parametrize("page", documentation.PAGES)
def test_pages_made_from_declarations_are_up_to_date(page):
    text = (documentation.DOCS / page).read_text(encoding="utf-8")
    assert text == documentation.PAGES[page](), "run python -m pipelines.documentation"


def test_columns_are_traced_where_that_is_known():
    upstream = ["au_corrections", "captions", "raw_disfa", "face_crop"]
    found = stages.column_sources("training_set", upstream)
    assert found["au4"] == [("au_corrections", "au4"), ("raw_disfa", "label_au4")]
    assert found["caption"] == [("captions", "caption")]
    assert ("raw_disfa", "subject") in found["subject"] and ("face_crop", "sample_id") in found["sample_id"]
    assert not {"keep", "reason_code", "split", "perceptual_hash"} & set(found)
    assert stages.column_sources("generated_samples/sd", ["guidance_curve/sd"])["guidance"] == [
        ("guidance_curve/sd", "guidance")
    ]
    assert stages.column_sources("raw_disfa", []) == {}


def test_what_columns_are_traced_to_is_declared():
    for (stage, pattern), sources in stages._DERIVED.items():
        for name, column in ((stage, pattern), *sources):
            declared = stages.named(name)
            assert column.format(4) in {**declared.columns, **declared.optional}
