"""What is printed of a run: causes instead of wrappers, one line for what was not run."""

import uuid

import dagster as dg
import pytest

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
            found = dg.Definitions(assets=assets, jobs=[dg.define_asset_job("all")])
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
