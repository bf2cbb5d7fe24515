"""The 1650 samples: what they ask for, which noise they share, that they never change by accident."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import tiny_protocol
from hypothesis import given
from hypothesis import strategies as st

import facs
from evaluation import protocol

GOLDEN_COMBINATIONS = ["AU1=4 AU2=3 AU5=4 AU25=4 AU26=4", "AU4=5 AU25=2 AU26=3", "AU4=2 AU6=3 AU17=3 AU20=4"]
GOLDEN_SUM = 535.0


@pytest.fixture(scope="module", params=protocol.names())
def table(request):
    return tiny_protocol.build(request.param)


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


def test_the_base_is_asked_for_the_noise_of_every_partner(table):
    base, neutral = protocol.base_samples(table), protocol.no_au_samples(table)
    assert base.select("prompt", "seed", *facs.COLUMNS).equals(
        neutral.select("prompt", "seed", *facs.COLUMNS)
    )
    assert set(base["kind"]) == {"base"} and base["sample_id"][0] == "base/00/au01"


def test_fewer_validation_prompts_may_be_used():
    assert protocol.validation_samples("paper", 2)["prompt"].n_unique() == 2
    assert protocol.validation_samples("paper", 15).height == 60


@pytest.mark.parametrize("name", protocol.names())
def test_validation_shares_neither_prompt_nor_noise(name):
    table, validation = tiny_protocol.build(name), protocol.validation_samples(name)
    assert validation.schema == protocol.SCHEMA
    assert validation.height == 60
    assert not set(validation["prompt"]) & set(table["prompt"])
    assert not set(validation["seed"]) & set(table["seed"])
    intensities = validation.select(pl.max_horizontal(facs.COLUMNS)).to_series()
    assert dict(intensities.value_counts().iter_rows()) == {2.0: 30, 4.0: 30}
    assert protocol.no_au_samples(validation).height == 60


def test_seven_prompts_are_the_papers_and_eight_are_drawn():
    asked = protocol.prompts("paper")
    assert asked.sources == ("paper",) * 7 and asked.drawn == 8
    assert "A girl wearing a sundress in a sunflower field" in asked.texts
    assert set(protocol.prompts("miniature").sources) == {"ours"}
    whole = tiny_protocol.build("paper").group_by("prompt_source").agg(pl.col("prompt").n_unique())
    assert dict(whole.iter_rows()) == {"paper": 7, protocol.DRAWN: 8}


def drawn(captions, name="paper", count=None):
    return protocol.with_captions(protocol.prompts(name), captions, count).texts[7:]


@given(st.randoms(use_true_random=False))
def test_the_draw_depends_on_nothing_but_seed_and_wording(random):
    """Neither the order of the training set nor how often a caption occurs in it."""
    captions = [text for text in tiny_protocol.CAPTIONS for _ in range(random.randint(1, 3))]
    random.shuffle(captions)
    assert drawn(captions) == drawn(tiny_protocol.CAPTIONS)
    assert set(drawn(captions)) <= set(tiny_protocol.CAPTIONS) and len(set(drawn(captions))) == 8


def test_the_seed_decides_the_draw():
    asked = protocol.prompts("paper")
    other = replace(asked, seed=asked.seed + 1)
    texts = [protocol.with_captions(one, tiny_protocol.CAPTIONS).texts for one in (asked, other)]
    assert texts[0] != texts[1] and texts[0][:7] == texts[1][:7]


def test_a_few_captions_more_change_few_prompts():
    many = [f"a person number {number}" for number in range(1000)]
    more = [*many, *(f"another person {number}" for number in range(10))]
    assert len(set(drawn(many)) & set(drawn(more))) >= 7


def test_a_caption_that_is_a_prompt_already_is_not_drawn():
    """Nor one that differs from it, or from another caption, in case or spaces only."""
    asked = protocol.prompts("paper")
    known = [asked.texts[0].upper(), asked.validation_texts[0], " ", "  Two   Words"]
    texts = drawn(
        [*known, *tiny_protocol.CAPTIONS[:6], tiny_protocol.CAPTIONS[0].title(), "two words", "more"]
    )
    assert len({text.casefold() for text in texts}) == 8 and "" not in texts
    assert {text.casefold() for text in texts} >= {"two words", "more"}
    assert not {text.casefold() for text in texts} & {text.casefold() for text in known[:2]}


def test_too_few_captions_are_an_error_that_says_how_to_go_on():
    with pytest.raises(ValueError, match=r"draws 8 .* only 3 are distinct; evaluation.prompts: 7 uses"):
        drawn(["one", "two", "three", "One"])
    assert protocol.build("paper", (), 7)["prompt"].n_unique() == 7
    assert drawn(tiny_protocol.CAPTIONS, count=9) == drawn(tiny_protocol.CAPTIONS)[:2]
    with pytest.raises(ValueError, match="16 prompts asked for; the protocol has 15"):
        drawn(tiny_protocol.CAPTIONS, count=16)


def test_only_captions_of_photographs_that_are_trained_on_count():
    rows = {"keep": [True, True, False, True, True], "split": ["train", "test", "train", "train", "train"]}
    table = pl.DataFrame({**rows, "source": ["disfa"] * 5, "caption": ["a", "b", "c", None, "a"]})
    rendered = table.with_columns(source=pl.lit("rendered"), caption=pl.lit("a bald old man"))
    table = pl.concat([table, rendered])
    assert protocol.training_captions(table) == ["a", "a"]


def test_miniature_prompts_never_name_an_expression():
    asked = protocol.prompts("miniature")
    words = set(" ".join(asked.texts + asked.validation_texts).split())
    assert not words & {"smiling", "happy", "sad", "angry", "surprised", "frowning", "laughing"}


def test_the_version_names_the_content(table):
    assert protocol.version(table) == protocol.version(table.clone())
    changed = table.with_columns(seed=pl.col("seed") + (pl.col("sample_id") == "individual/00/au01/1"))
    assert protocol.version(changed) != protocol.version(table)
    assert protocol.version(table.reverse()) != protocol.version(table)
    other = pl.when(pl.col("prompt_source") == protocol.DRAWN).then(pl.lit("another caption"))
    assert protocol.version(table.with_columns(prompt=other.otherwise("prompt"))) != protocol.version(table)


def test_the_combinations_have_not_changed():
    """Published numbers hang on these vectors: a change must be meant."""
    first = tiny_protocol.build().filter(kind="combination", prompt_index=0)
    assert [
        facs.describe(row) for row in first.head(3).select(facs.COLUMNS).iter_rows()
    ] == GOLDEN_COMBINATIONS
    assert first.select(pl.sum_horizontal(facs.COLUMNS).sum()).item() == GOLDEN_SUM


def test_an_unknown_protocol_is_named():
    with pytest.raises(ValueError, match=r"'papr'.*miniature, paper"):
        protocol.build("papr")


def test_beyond_the_scale_is_one_prompt_and_shares_noise_and_partner_with_the_sweeps():
    whole = tiny_protocol.build()
    beyond = protocol.beyond_samples(whole)
    assert beyond.schema == protocol.SCHEMA and beyond.height == 24 and set(beyond["prompt_index"]) == {0}
    assert not set(beyond["sample_id"]) & set(whole["sample_id"])
    row = beyond.filter(sample_id="beyond/00/au12/-3").row(0, named=True)
    five = whole.filter(sample_id="individual/00/au12/5").row(0, named=True)
    assert row["au12"] == -3 and sum(row[column] != 0 for column in facs.COLUMNS) == 1
    assert (row["seed"], row["partner_id"], row["prompted"]) == (five["seed"], five["partner_id"], "12")
    assert set(beyond.select(pl.sum_horizontal(facs.COLUMNS)).to_series()) == set(protocol.BEYOND)
    assert set(beyond["partner_id"]) <= set(protocol.no_au_samples(whole)["sample_id"])
