"""A sample beside its no-AU partner: CLIP's cosines, and whose face it is."""

import numpy as np
import polars as pl
import pytest

from evaluation import partners
from evaluation.bootstrap import Sums


def value(sums: Sums) -> float:
    return sums.total.sum() / sums.count.sum()


def test_cosine():
    a = np.array([[3.0, 4.0], [1.0, 0.0], [1.0, 1.0]])
    b = np.array([[6.0, 8.0], [0.0, 2.0], [-1.0, -1.0]])
    assert partners.cosine(a, b) == pytest.approx([1.0, 0.0, -1.0])
    with pytest.raises(ValueError, match="embedding 1"):
        partners.cosine(a, np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]))
    with pytest.raises(ValueError, match="shapes"):
        partners.cosine(a, b[:2])


def embedded(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=["sample_id", "kind", "partner_id", "prompt", "embedding"], orient="row"
    ).with_columns(pl.col("partner_id").cast(pl.String))


def test_cosines_to_partner_base_and_prompt_by_hand():
    pictures = embedded(
        [
            ("individual/00/au01/1", "individual", "no_au/00/au01", "a man", [3.0, 4.0]),
            ("individual/00/au01/2", "individual", "no_au/00/au01", "a man", [1.0, 0.0]),
            ("no_au/00/au01", "no_au", None, "a man", [1.0, 0.0]),
            ("base/00/au01", "base", None, "a man", [0.0, 1.0]),
        ]
    )
    texts = pl.DataFrame({"prompt": ["a woman", "a man"], "embedding": [[1.0, 0.0], [-4.0, 3.0]]})
    found = partners.cosines(pictures, texts)
    assert found["sample_id"].to_list() == ["individual/00/au01/1", "individual/00/au01/2"]
    assert found["clip_i"].to_list() == pytest.approx([0.6, 1.0])
    assert found["clip_i_base"].to_list() == pytest.approx([0.8, 0.0])
    assert found["clip_t"].to_list() == pytest.approx([0.0, -0.8])
    without = partners.cosines(pictures.filter(pl.col("kind") != "base"))
    assert "clip_i" in without.columns and not {"clip_i_base", "clip_t"} & set(without.columns)
    with pytest.raises(ValueError, match="individual/00/au01/1 with for clip_i"):
        partners.cosines(pictures.filter(pl.col("kind") != "no_au"))


def test_clip_i_counts_what_is_there():
    frame = pl.DataFrame({"prompt_index": [0, 0, 1], "clip_i": [0.9, None, 0.7]})
    assert value(partners.mean(frame, "clip_i")) == pytest.approx(0.8)
    assert partners.mean(frame, "clip_i").n == 2
    with pytest.raises(ValueError, match="outside"):
        partners.mean(frame.with_columns(clip_i=pl.lit(1.2)), "clip_i")


def described(**descriptors) -> pl.DataFrame:
    """Two samples, of partner p and q, with these descriptors."""
    rows = [(name, {"a": "p", "b": "q"}.get(name), of) for name, of in descriptors.items()]
    schema = {"sample_id": pl.String, "partner_id": pl.String, "descriptor": pl.List(pl.Float64)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_the_same_person_by_hand():
    # 0.3 and 0.4 apart: 0.5, one person; 0.6 and 0.8: 1, another
    found = partners.identities(described(p=[0.0, 0.0], q=[1.0, 1.0], a=[0.3, 0.4], b=[1.6, 1.8]))
    assert found["sample_id"].to_list() == ["a", "b"]
    assert found["identity_distance"].to_list() == pytest.approx([0.5, 1.0])
    assert found["same_person"].to_list() == [1.0, 0.0]


def test_who_lost_the_face_shows_nobody_and_who_never_had_one_loses_nobody():
    found = partners.identities(described(p=[0.0, 0.0], q=None, a=None, b=[1.0, 1.0]))
    assert found["identity_distance"].to_list() == [None, None]
    assert found["same_person"].to_list() == [0.0, None]
    table = found.with_columns(prompt_index=pl.Series([0, 1]))
    assert value(partners.mean(table, "same_person")) == 0 and partners.mean(table, "same_person").n == 1


def test_a_partner_that_was_not_described_is_an_error():
    with pytest.raises(ValueError, match="no-AU sample q was not described"):
        partners.identities(described(p=[0.0], a=[0.0], b=[1.0]))


def test_identity_stands_beside_clip_where_it_was_measured():
    clip = pl.DataFrame({"sample_id": ["a", "b"], "clip_i": [0.9, 0.8]})
    identity = pl.DataFrame(
        {"sample_id": ["b", "a"], "identity_distance": [1.0, 0.1], "same_person": [0.0, 1.0]}
    )
    assert partners.joined(clip, identity)["same_person"].to_list() == [1.0, 0.0]
    assert partners.joined(clip, None).equals(clip) and partners.joined(clip, identity.clear()).equals(clip)


def test_values_out_of_range_are_refused():
    for column, bad in (("clip_i", 1.2), ("identity_distance", -0.1), ("same_person", 2.0)):
        with pytest.raises(ValueError, match=f"{column} outside"):
            partners.mean(pl.DataFrame({column: [bad], "prompt_index": [0]}), column)
