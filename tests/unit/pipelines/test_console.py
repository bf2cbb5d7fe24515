"""What is printed of a run: causes instead of wrappers, one line for what was not run."""

import uuid

import dagster as dg
import polars as pl
import pytest

from assets import stage
from pipelines.command.run import _what_helps
from pipelines.console import Console

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def printed():
    """Materialise assets in one run; the console that heard it, and the lines it printed."""

    def run(*assets):
        lines = []
        console = Console(say=lambda text: lines.extend(text.splitlines()))
        with dg.DagsterInstance.ephemeral() as instance:
            run_id = str(uuid.uuid4())
            instance.add_event_listener(run_id, console.listener("data_set", None))
            checks = [one for one in assets if isinstance(one, dg.AssetChecksDefinition)]
            assets = [one for one in assets if one not in checks]
            found = dg.Definitions(assets=assets, jobs=[dg.define_asset_job("all")], asset_checks=checks)
            found.resolve_job_def("all").execute_in_process(
                instance=instance, run_id=run_id, raise_on_error=False, run_config=QUIET
            )
        return console, lines

    return run


def failing(error, **options):
    @dg.asset(**options)
    def broken():
        raise error

    return broken


def after(name, asset):
    @dg.asset(name=name, deps=[asset])
    def later():
        return None

    return later


def test_one_failure_is_one_line_and_one_for_what_was_not_run(printed):
    broken = failing(ValueError("row 7 of list.csv has no label"))
    rest = [after("one", broken), after("two", "one"), after("three", "two")]
    console, lines = printed(broken, *rest)
    assert "  broken FAILED: ValueError: row 7 of list.csv has no label" in lines
    assert [line for line in lines if "not run" in line] == ["    not run, for want of it: one, two, three"]
    assert not any("Dependencies for step" in line for line in lines)
    assert console.made == []
    assert _what_helps(console.causes).startswith("once that is mended")


def test_the_cause_stands_behind_exceeded_retries(printed):
    request = dg.RetryRequested(max_retries=0)
    request.__cause__ = RuntimeError("ended with code -9; it said: out of memory")
    console, lines = printed(failing(request))
    assert "  broken FAILED: RuntimeError: ended with code -9; it said: out of memory" in lines
    assert not any("Exceeded max_retries" in line for line in lines)
    assert "run again" in _what_helps(console.causes)


def test_what_was_made_is_known(printed):
    @dg.asset
    def sound():
        return 1

    console, _ = printed(sound)
    assert console.made == ["sound"] and console.total().startswith("1 stages")


def test_what_is_damaged_is_a_matter_for_repair(printed):
    from store.errors import CorruptTable

    console, _ = printed(failing(CorruptTable("memo 'captions' cannot be read")))
    assert "fineface repair" in _what_helps(console.causes)


def test_a_check_shows_its_table_as_it_reads(printed):
    doubtful = pl.DataFrame({"au": [4, 17], "sample_id": ["a_[1]|b.jpg", "c.jpg"], "highest": [0.95, 1.348]})

    @dg.asset
    def statistics():
        return None

    @dg.asset_check(asset=statistics)
    def scales_rest_on_many():
        table = stage.markdown(doubtful)
        return stage.check(False, dg.AssetCheckSeverity.WARN, doubtful=table, rows=2, files=stage.listed("x"))

    _, lines = printed(statistics, scales_rest_on_many)
    at = next(place for place, line in enumerate(lines) if "scales_rest_on_many" in line)
    assert lines[at : at + 5] == [
        "    check scales_rest_on_many of statistics warns: rows 2, files - x",
        "      doubtful:",
        "      au  sample_id    highest",
        "      4   a_[1]|b.jpg  0.95",
        "      17  c.jpg        1.348",
    ]
