"""Dagster's own state in a real PostgreSQL, as `deploy/postgresql` sets it up: sensor, queue, jobs."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
import tiny_world
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter

psycopg2 = pytest.importorskip("psycopg2", reason="the extra postgres is not installed")
pytest.importorskip("dagster_postgres", reason="the extra postgres is not installed")

pytestmark = [pytest.mark.graph, pytest.mark.timeout(1800)]

CONFIG = tiny_world.PROJECT / "deploy" / "postgresql" / "dagster.yaml"
USER, DATABASE = "fineface", "dagster"


def programs() -> Path:
    """Where initdb and pg_ctl are."""
    named = os.environ.get("FINEFACE_POSTGRES") or (shutil.which("pg_ctl") or "").removesuffix("/pg_ctl")
    usual = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = Path(named) if named else usual[-1] if usual else None
    if found is None or not (found / "initdb").is_file():
        pytest.skip("no PostgreSQL: $FINEFACE_POSTGRES names no folder with initdb, and none is installed")
    return found


@pytest.fixture(scope="module")
def database():
    """A server of our own on loopback; the variables that name its database."""
    found = programs()
    who = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    port, password = free_port(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="fineface-postgres-", dir="/tmp") as folder:
        note = Path(folder, "password")
        note.write_text(password)
        if who:  # it refuses to run as root
            for place in (folder, note):
                shutil.chown(place, "postgres", "postgres")

        def run(program, *arguments):
            command = [str(found / program), "-D", f"{folder}/data", *arguments]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **who)

        run("initdb", "-U", USER, "--auth=scram-sha-256", f"--pwfile={note}")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            address = {"host": "127.0.0.1", "port": port, "user": USER, "password": password}
            connection = psycopg2.connect(dbname="postgres", **address)
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {DATABASE}")
            connection.close()
            yield {
                "PGHOST": "127.0.0.1",
                "PGPORT": str(port),
                "PGUSER": USER,
                "PGPASSWORD": password,
                "PGDATABASE": DATABASE,
            }
        finally:
            run("pg_ctl", "-m", "immediate", "stop")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def instance(database, tmp_path, monkeypatch):
    """The instance of `deploy/postgresql/dagster.yaml`, also for the processes that are started."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    shutil.copy(CONFIG, folder / "dagster.yaml")
    for name, value in {**database, "DAGSTER_HOME": str(folder)}.items():
        monkeypatch.setenv(name, value)
    with DagsterInstance.from_config(str(folder)) as opened:
        yield opened


def test_new_data_goes_from_the_sensor_through_the_queue_to_the_data_set(
    instance, world, tmp_path, monkeypatch
):
    profile = tiny_world.write_profile(
        tmp_path / "tiny.yaml",
        world.models,
        world.raw,
        automation={"look_every": 10, "reach": "data_set"},
    )
    monkeypatch.setenv("FINEFACE_PROFILE", str(profile))
    monkeypatch.setenv("FINEFACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    where = ["-m", "pipelines.definitions", "-d", str(tiny_world.PROJECT)]
    dagster = [sys.executable, "-m", "dagster"]
    subprocess.run([*dagster, "sensor", "start", "new_data", *where], check=True, cwd=tiny_world.PROJECT)
    log = tmp_path / "daemon.log"
    with log.open("w") as file:
        command = [sys.executable, "-m", "dagster._daemon", "run", *where]
        daemon = subprocess.Popen(
            command, cwd=tiny_world.PROJECT, stdout=file, stderr=file, start_new_session=True
        )
    try:
        wait(lambda: ended(instance, "data_set"), daemon, log)
    finally:
        daemon.send_signal(signal.SIGINT)
        daemon.wait()
        with suppress(ProcessLookupError):  # its code servers would stay a while
            os.killpg(daemon.pid, signal.SIGKILL)
    assert ended(instance, "read_raw_data") == ended(instance, "data_set") == DagsterRunStatus.SUCCESS, (
        log.read_text()[-5000:]
    )
    for run in instance.get_runs():
        assert run.tags["dagster/sensor_name"] == "new_data"
        events = instance.all_logs(run.run_id, of_type=DagsterEventType.PIPELINE_ENQUEUED)
        assert len(events) == 1, "it waited in the queue"
    with psycopg2.connect("") as connection:  # by the PG* variables
        cursor = connection.cursor()
        cursor.execute("SELECT run_id, count(*) FROM event_logs GROUP BY run_id")
        events = dict(cursor.fetchall())
    assert all(events[run.run_id] > 20 for run in instance.get_runs() if run.is_finished)
    assert not list(Path(instance.root_directory).rglob("*.db")), "nothing of it lies in a file"


def ended(instance, job):
    """How the last run of `job` ended, if it did."""
    for run in instance.get_runs(RunsFilter(job_name=job), limit=1):
        return run.status if run.is_finished else None
    return None


def wait(what, process, log, seconds=1200):
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-5000:]
        time.sleep(1)
