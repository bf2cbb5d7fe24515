"""What tables were made from: one chain or several, and what is behind the times."""

import polars as pl
import pytest

from provenance import lineage
from store import MissingTable, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def write(store, table, content, **upstream):
    """A version of `table`, made from versions of others ("/" is written "__")."""
    read = {name.replace("__", "/"): version for name, version in upstream.items()}
    return store.write(table, pl.DataFrame({"x": [content]}), lineage={"code_version": "1", "upstream": read})


def chain(store, training_set=0):
    """Two experiments and results, from one training set."""
    write(store, "training_set", f"set {training_set}")
    for name in ("a", "b"):
        write(store, f"trained_model/{name}", f"{name} of {training_set}", training_set=training_set)
        write(
            store,
            f"au_scores/{name}",
            f"{name} {training_set}",
            **{
                f"trained_model__{name}": store.version(f"trained_model/{name}"),
                "training_set": training_set,
            },
        )
    scores = {f"au_scores__{name}": store.version(f"au_scores/{name}") for name in ("a", "b")}
    write(store, "results", f"results {training_set}", training_set=training_set, **scores)


def test_tables_of_one_run_form_one_chain(store):
    chain(store)
    assert lineage.torn(store, "results") == {}
    chain(store, 1)
    assert lineage.torn(store, "results") == {}


def test_new_pictures_with_old_scores_are_torn_and_told_by_name(store):
    """What was measured once: the adapter was trained anew, its pictures were scored before that."""
    chain(store)
    write(store, "training_set", "set 1")
    write(store, "trained_model/a", "a of 1", training_set=1)
    write(store, "au_scores/a", "a 1", trained_model__a=1, training_set=1)
    write(store, "results", "mixed", training_set=1, au_scores__a=1, au_scores__b=0)
    assert lineage.torn(store, "results") == {
        "training_set": {
            0: ("au_scores/b", "trained_model/b"),
            1: ("results", "au_scores/a", "trained_model/a"),
        }
    }


def test_versions_of_equal_content_are_one(store):
    """A rebuild of the training set that came out the same has a new version, and trains nothing anew."""
    chain(store)
    write(store, "captions", "new")
    assert write(store, "training_set", "set 0", captions=0) == 1
    write(store, "results", "results 0", training_set=1, au_scores__a=0, au_scores__b=0)
    assert lineage.torn(store, "results") == {}


def test_a_table_never_written_has_nothing_behind_it(store):
    with pytest.raises(MissingTable):
        lineage.torn(store, "results")


def test_what_is_behind_the_times_says_why(store):
    assert lineage.outdated(store, "training_set", "1", []) == "never made"
    chain(store)
    assert lineage.outdated(store, "trained_model/a", "1", ["training_set"]) is None
    assert (
        lineage.outdated(store, "trained_model/a", "2", ["training_set"])
        == "made with other code or settings"
    )
    write(store, "latents", "new")
    assert lineage.outdated(store, "trained_model/a", "1", ["training_set"]) is None
    assert lineage.outdated(store, "trained_model/a", "1", ["latents"]) == "made before there was latents"
    write(store, "training_set", "set 1")
    assert lineage.outdated(store, "trained_model/a", "1", ["training_set"]) == (
        "made from version 0 of training_set, which is at 1"
    )
    write(store, "training_set", "set 0")
    assert lineage.outdated(store, "trained_model/a", "1", ["training_set"]) is None, "its content is back"


def test_a_rebuild_that_comes_out_the_same_is_of_its_time(store):
    """`sd` trains nothing: its model is the same whatever the data, and must not be due for ever."""
    chain(store)
    write(store, "training_set", "set 1")
    assert lineage.outdated(store, "trained_model/b", "1", ["training_set"])
    assert write(store, "trained_model/b", "b of 0", training_set=1) == 1
    assert lineage.outdated(store, "trained_model/b", "1", ["training_set"]) is None
