"""The 1650 samples: what they ask for, which noise they share, that they never change by accident."""

import numpy as np
import polars as pl
import pytest

import facs
from evaluation import protocol

GOLDEN_COMBINATIONS = ["AU1=4 AU2=3 AU5=4 AU25=4 AU26=4", "AU4=5 AU25=2 AU26=3", "AU4=2 AU6=3 AU17=3 AU20=4"]
GOLDEN_SUM = 535.0


@pytest.fixture(scope="module", params=protocol.names())
def table(request):
    return protocol.build(request.param)


def test_there_are_two_protocols():
    assert protocol.names() == ["miniature", "paper"]


def test_900_individual_and_750_combinations(table):
    assert table.schema == protocol.SCHEMA
    assert dict(table["kind"].value_counts().iter_rows()) == {"individual": 900, "combination": 750}
    assert table["sample_id"].n_unique() == 1650
    assert table["sample_id"].is_sorted()
    assert table["prompt"].n_unique() == 15


def test_individual_samples_ask_for_every_au_at_every_intensity(table):
    individual = table.filter(kind="individual")
    aus = individual.select(facs.COLUMNS).to_numpy()
    assert ((aus > 0).sum(axis=1) == 1).all()
    for column in facs.COLUMNS:
        counts = individual.filter(pl.col(column) > 0).group_by("prompt_index", column).len()
        assert counts.height == 15 * 5 and (counts["len"] == 1).all()


def test_a_sweep_shares_its_noise_and_no_two_sweeps_do(table):
    sweeps = table.filter(kind="individual").group_by("prompt_index", "prompted")
    assert (sweeps.agg(pl.col("seed").n_unique())["seed"] == 1).all()
    assert table.filter(kind="individual")["seed"].n_unique() == 180


def test_combinations_reuse_the_twelve_seeds_of_their_prompt_evenly(table):
    own = dict(
        table.filter(kind="individual").group_by("prompt_index").agg(pl.col("seed").unique()).iter_rows()
    )
    for (index,), rows in table.filter(kind="combination").group_by("prompt_index"):
        assert rows.height == 50
        assert set(rows["seed"]) == set(own[index])
        assert set(rows["seed"].value_counts()["count"]) == {4, 5}


def test_every_prompt_is_asked_for_the_same_fifty_distinct_vectors(table):
    combinations = table.filter(kind="combination").sort("sample_id")
    vectors = [rows.select(facs.COLUMNS).to_numpy() for _, rows in combinations.group_by("prompt_index")]
    assert all((vector == vectors[0]).all() for vector in vectors)
    assert len(np.unique(vectors[0], axis=0)) == 50
    asked = vectors[0][vectors[0] > 0]
    assert set(asked) == {2.0, 3.0, 4.0, 5.0}
    assert ((vectors[0] > 0).sum(axis=1) >= 2).all()
    assert (vectors[0] > 0).any(axis=0).all(), "some AU is in no combination"


def test_the_six_known_combinations_are_there(table):
    known = {"1+2+5+25+26", "4+25+26", "4+6+17+20", "1+2+4+9", "6+12", "1+4"}
    assert known <= set(table.filter(kind="combination")["prompted"])


def test_prompted_names_the_aus(table):
    for row in table.sample(50, seed=1).iter_rows(named=True):
        assert row["prompted"] == "+".join(str(au) for au in facs.ACTION_UNITS if row[f"au{au}"] > 0)


def test_no_au_samples_are_the_distinct_partners(table):
    neutral = protocol.no_au_samples(table)
    assert neutral.schema == protocol.SCHEMA
    assert neutral.height == 180
    assert (neutral.select(facs.COLUMNS).to_numpy() == 0).all()
    assert neutral["partner_id"].null_count() == 180
    joined = table.join(neutral, left_on="partner_id", right_on="sample_id", how="left")
    assert (joined["prompt"] == joined["prompt_right"]).all()
    assert (joined["seed"] == joined["seed_right"]).all()
    assert not set(neutral["sample_id"]) & set(table["sample_id"])


def test_no_au_samples_of_a_part_are_only_those_it_needs(table):
    part = table.filter(pl.col("sample_id").str.starts_with("individual/03/au12"))
    assert protocol.no_au_samples(part)["sample_id"].to_list() == ["no_au/03/au12"]
    assert protocol.no_au_samples(protocol.no_au_samples(part)).height == 0


@pytest.mark.parametrize("name", protocol.names())
def test_validation_shares_neither_prompt_nor_noise(name):
    table, validation = protocol.build(name), protocol.validation_samples(name)
    assert validation.schema == protocol.SCHEMA
    assert validation.height == 60
    assert not set(validation["prompt"]) & set(table["prompt"])
    assert not set(validation["seed"]) & set(table["seed"])
    intensities = validation.select(pl.max_horizontal(facs.COLUMNS)).to_series()
    assert dict(intensities.value_counts().iter_rows()) == {2.0: 30, 4.0: 30}
    assert protocol.no_au_samples(validation).height == 60


def test_seven_prompts_are_the_papers():
    asked = protocol.prompts("paper")
    assert list(asked.sources).count("paper") == 7
    assert "A girl wearing a sundress in a sunflower field" in asked.texts
    assert set(protocol.prompts("miniature").sources) == {"ours"}


def test_miniature_prompts_never_name_an_expression():
    asked = protocol.prompts("miniature")
    words = set(" ".join(asked.texts + asked.validation_texts).split())
    assert not words & {"smiling", "happy", "sad", "angry", "surprised", "frowning", "laughing"}


def test_the_version_names_the_content(table):
    assert protocol.version(table) == protocol.version(table.clone())
    changed = table.with_columns(seed=pl.col("seed") + (pl.col("sample_id") == "individual/00/au01/1"))
    assert protocol.version(changed) != protocol.version(table)
    assert protocol.version(table.reverse()) != protocol.version(table)


def test_the_combinations_have_not_changed():
    """Published numbers hang on these vectors: a change must be meant."""
    first = protocol.build("miniature").filter(kind="combination", prompt_index=0)
    assert [
        facs.describe(row) for row in first.head(3).select(facs.COLUMNS).iter_rows()
    ] == GOLDEN_COMBINATIONS
    assert first.select(pl.sum_horizontal(facs.COLUMNS).sum()).item() == GOLDEN_SUM


def test_an_unknown_protocol_is_named():
    with pytest.raises(ValueError, match=r"'papr'.*miniature, paper"):
        protocol.build("papr")
