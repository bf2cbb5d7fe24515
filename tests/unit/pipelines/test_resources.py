"""Tables as arguments and results of assets: what is written, what is recorded, what is read back."""

import json

import dagster as dg
import polars as pl
import pytest

from pipelines.resources import StageTables
from store import Store

EXPERIMENTS = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset(code_version="7", metadata={"settings": {"split.seed": 3}})
def numbers() -> dg.MaterializeResult:
    return dg.MaterializeResult(value=pl.DataFrame({"x": [1, 2]}))


@dg.asset(
    partitions_def=EXPERIMENTS,
    metadata={"settings": {"base": "b", "experiments": {"a": {"rank": 1}, "b": {"rank": 2}}}},
)
def doubled(context, numbers: pl.DataFrame) -> dg.MaterializeResult:
    value = numbers.select(pl.lit(context.partition_key).alias("experiment"), pl.col("x") * 2)
    return dg.MaterializeResult(value=value)


@dg.asset
def collected(doubled: pl.DataFrame) -> dg.MaterializeResult:
    return dg.MaterializeResult(value=doubled)


@dg.asset(deps=["numbers"])
def counted(store: dg.ResourceParam[Store], doubled: pl.DataFrame) -> dg.MaterializeResult:
    """Reads a table by a side door, at two versions' worth of calls."""
    rows = store.read("numbers", columns=["x"]).height + store.scan("extra").collect().height
    return dg.MaterializeResult(value=doubled.head(0).with_columns(rows=pl.lit(rows)))


@pytest.fixture
def materialise(tmp_path):
    def run(*assets, partition=None, expect=True):
        store = Store(tmp_path)
        tables = StageTables(store, "tiny")
        done = dg.materialize(
            [numbers, doubled, collected, counted],
            selection=list(assets),
            resources={"io_manager": tables, "store": store},
            partition_key=partition,
            raise_on_error=expect,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert done.success == expect
        return done

    return run


def test_commits_say_what_made_them(materialise, tmp_path):
    run = materialise(numbers)
    store = Store(tmp_path)
    (entry,) = store.history("numbers")
    commit = entry["metadata"]
    assert commit["run_id"] == run.run_id
    assert (commit["code_version"], commit["profile"], commit["upstream"]) == ("7", "tiny", "{}")
    assert json.loads(commit["settings"]) == {"split.seed": 3}
    materialise(doubled, partition="a")
    (entry,) = store.history("doubled/a")
    assert json.loads(entry["metadata"]["settings"]) == {"base": "b", "experiments": {"a": {"rank": 1}}}
    assert json.loads(entry["metadata"]["upstream"]) == {"numbers": 0}


def test_equal_content_makes_no_new_version(materialise, tmp_path):
    for _ in range(2):
        run = materialise(numbers)
    assert Store(tmp_path).version("numbers") == 0
    (event,) = run.asset_materializations_for_node("numbers")
    assert event.metadata["table_version"].value == 0


def test_without_partitions_all_experiments_so_far_are_read(materialise, tmp_path):
    materialise(numbers)
    materialise(doubled, partition="b")
    materialise(collected)
    store = Store(tmp_path)
    assert store.read("collected").rows() == [("b", 2), ("b", 4)]
    materialise(doubled, partition="a")
    materialise(collected)
    assert store.read("collected").rows() == [("a", 2), ("a", 4), ("b", 2), ("b", 4)]
    upstream = json.loads(store.history("collected")[0]["metadata"]["upstream"])
    assert upstream == {"doubled/a": 0, "doubled/b": 0}


def test_what_was_never_materialised_is_named(materialise):
    run = materialise(collected, expect=False)
    error = run.failure_data_for_node("collected").error
    while error.cause is not None:
        error = error.cause
    assert "none of doubled/a, doubled/b was materialised" in error.message


def test_what_is_read_from_the_store_itself_is_recorded_too_and_of_each_step_its_own(materialise, tmp_path):
    store = Store(tmp_path)
    store.write("extra", pl.DataFrame({"y": [1]}))
    store.write("extra", pl.DataFrame({"y": [1, 2]}))
    for step in ((numbers, None), (doubled, "a")):
        materialise(step[0], partition=step[1])
    materialise(collected, counted)
    upstream = {
        name: json.loads(store.history(name)[0]["metadata"]["upstream"]) for name in ("collected", "counted")
    }
    assert upstream == {"collected": {"doubled/a": 0}, "counted": {"doubled/a": 0, "numbers": 0, "extra": 1}}
