"""Events of written tables: in a file, or sent to a collector, which may be down."""

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest

from exports.openlineage import Events, Written
from pipelines.resources import StageTables
from store import Store

pytest.importorskip("openlineage.client", reason="extra lineage")

RUN = str(uuid.uuid4())
WRITTEN = Written(
    stage="captions",
    version=3,
    frame=pl.DataFrame({"sample_id": ["a", "b"], "source": ["folder"] * 2, "caption": ["x", "y"]}),
    run_id=RUN,
    job="data_set",
    code_version="2",
    upstream={"face_crop": 1, "au_annotation": 5},
)


def events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_says_run_versions_schema_and_where_columns_come_from(tmp_path):
    target = Events(str(tmp_path / "new" / "events.jsonl"))
    for _ in range(2):
        target.send(WRITTEN)
    event, again = events(tmp_path / "new" / "events.jsonl")
    assert event["eventType"] == "COMPLETE" and event["job"]["name"] == "captions"
    assert event["run"]["facets"]["parent"]["run"]["runId"] == RUN
    assert event["run"]["runId"] == again["run"]["runId"] != RUN
    assert [(one["name"], one["facets"]["version"]["datasetVersion"]) for one in event["inputs"]] == [
        ("au_annotation", "5"),
        ("face_crop", "1"),
    ]
    (output,) = event["outputs"]
    assert output["facets"]["version"]["datasetVersion"] == "3"
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 2
    fields = {field["name"]: field for field in output["facets"]["schema"]["fields"]}
    assert fields["caption"]["type"] == "String" and fields["caption"]["description"] == "One line of text."
    lineage = output["facets"]["columnLineage"]["fields"]
    assert [one["name"] for one in lineage["sample_id"]["inputFields"]] == ["face_crop", "au_annotation"]
    assert "caption" not in lineage


@pytest.fixture
def collector():
    """A collector on this machine that keeps what it gets."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()


def test_a_collector_gets_it_with_the_key(collector, monkeypatch):
    url, got = collector
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "secret")
    Events(url).send(WRITTEN)
    ((path, key, event),) = got
    assert path == "/api/v1/lineage" and key == "Bearer secret" and event["job"]["name"] == "captions"


def materialise(tmp_path, target):
    """The table `captions` by a run; its events go to `target`."""
    table = WRITTEN.frame

    @dg.asset(name="captions", code_version="7")
    def captions():
        return table

    store = Store(tmp_path / "home")
    tables = StageTables(store, "tiny", target and Events(target))
    result = dg.materialize([captions], resources={"io_manager": tables})
    assert result.success and store.version("captions") == 0
    return result


def test_a_run_tells_every_table_that_it_writes(tmp_path):
    result = materialise(tmp_path, str(tmp_path / "events.jsonl"))
    (event,) = events(tmp_path / "events.jsonl")
    assert event["run"]["facets"]["parent"]["run"]["runId"] == result.run_id
    assert event["outputs"][0]["name"] == "captions"


def test_without_the_setting_nothing_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Events, "send", lambda *_: pytest.fail("an event was sent"))
    materialise(tmp_path, None)


def test_a_collector_that_is_down_stops_no_run(tmp_path, monkeypatch):
    warned = []
    target = "http://127.0.0.1:1"
    genuine = StageTables._tell

    def tell(self, events, context, written):
        genuine(self, events, SimpleNamespace(log=SimpleNamespace(warning=warned.append)), written)

    monkeypatch.setattr(StageTables, "_tell", tell)
    materialise(tmp_path, target)
    assert len(warned) == 1 and warned[0].startswith("the OpenLineage event of captions was not sent")
