"""A stage begins again after a kill and after what may pass, later each time; else it says why, once."""

import errno
import logging
from types import SimpleNamespace

import dagster as dg
import httpx
import polars as pl
import pytest

from assets import retries, stage
from inference.child import ChildFailed
from pipelines.resources import StageTables
from store import CorruptTable, MissingFile, Store
from store.delta import Delta
from store.errors import DiskFull, Locked, Outrun


def context(retry_number=0):
    return SimpleNamespace(retry_number=retry_number, log=logging.getLogger())


@pytest.mark.parametrize("code", [-9, -15, 137])
def test_what_was_killed_is_tried_again(code, caplog):
    after = retries.after(ChildFailed("it said …", code), "the training", context())
    signal = 15 if code == -15 else 9
    assert f"the training was killed by signal {signal}; again in 5 s (1 of 3)" in caplog.text
    assert isinstance(after, dg.RetryRequested) and after.max_retries == retries.RETRIES


@pytest.mark.parametrize("code", [1, 2])
def test_an_error_of_the_code_is_not(code):
    after = retries.after(ChildFailed("it said KeyError", code), "the training", context())
    assert isinstance(after, dg.Failure) and not after.allow_retries
    assert after.description == "the training: it said KeyError"


def test_each_time_is_waited_longer():
    waited = [retries.after(ChildFailed("", -9), "it", context(n)).seconds_to_wait for n in range(3)]
    assert waited == [5, 20, 80]


def refused(status):
    request = httpx.Request("GET", "http://hub")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, request=request))


def caused(error, by):
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    "error",
    [
        *(Locked("process 3 holds it"), Outrun("others"), ConnectionResetError(), TimeoutError()),
        *(OSError(errno.ESTALE, "stale"), OSError(errno.EIO, "a disk"), httpx.ConnectTimeout("hub")),
        *(refused(429), refused(503), caused(CorruptTable("t"), OSError(errno.ETIMEDOUT, "a share"))),
    ],
    ids=repr,
)
def test_what_may_pass_is_tried_again(error):
    with pytest.raises(dg.RetryRequested) as asked, retries.where_it_helps(lambda: 1, logging.getLogger()):
        raise error
    assert asked.value.__cause__ is error and asked.value.seconds_to_wait == 20


@pytest.mark.parametrize(
    "error",
    [
        *(ValueError("a row"), MemoryError("one at a time"), DiskFull("no room"), MissingFile("gone")),
        *(OSError(errno.ENOSPC, "full"), OSError(errno.ENOENT, "gone"), OSError(errno.EACCES, "closed")),
        *(refused(401), refused(404), dg.Failure("said", allow_retries=False), CorruptTable("rotten")),
    ],
    ids=repr,
)
def test_what_would_only_come_again_is_not(error):
    with pytest.raises(type(error)) as raised, retries.where_it_helps(lambda: 0, logging.getLogger()):
        raise error
    assert raised.value is error


DECLARED = SimpleNamespace(
    name="words",
    reads=(),
    group=SimpleNamespace(value="data_set"),
    columns={},
    optional={},
    complaints=lambda frame: {},
    undeclared=lambda frame: [],
)


def test_a_stage_and_its_table_are_made_in_the_end(tmp_path, monkeypatch):
    """The stage fails once for a share that is away, the table once for a busy store."""
    monkeypatch.setattr(retries, "WAIT_SECONDS", 0)
    monkeypatch.setattr("stages.named", lambda name: DECLARED)
    away, busy = [OSError(errno.ESTALE, "away")], [Outrun("busy")]

    @stage.asset()
    def words(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        if away:
            raise away.pop()
        return stage.result(pl.DataFrame({"word": ["a"]}))

    write = Delta.write

    def written(*given, **more):
        if busy:
            raise busy.pop()
        return write(*given, **more)

    monkeypatch.setattr(Delta, "write", written)
    store = Store(tmp_path / "home")
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"io_manager": StageTables(store, "tiny")}
        run = dg.materialize([words], instance=instance, resources=resources, raise_on_error=False)
        told = [entry.user_message for entry in instance.all_logs(run.run_id)]
    assert run.success and not away and not busy
    assert store.read("words").rows() == [("a",)]
    assert sum("again in 0 s" in line for line in told) == 2
