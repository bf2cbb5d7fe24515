"""Dagster's real web server behind the guard, over a socket, with a real browser where there is one."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from pipelines import runs

PROJECT = Path(__file__).parents[3]
MUTATION = "mutation { setNuxSeen }"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    """The UI of an empty workspace: its port and the process that prints its links."""
    folder = tmp_path_factory.mktemp("ui")
    workspace = folder / "workspace.yaml"
    workspace.write_text("load_from: []\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    before = os.environ.get("DAGSTER_HOME")
    home = runs.dagster_home(folder)
    os.environ.pop("DAGSTER_HOME") if before is None else os.environ.update(DAGSTER_HOME=before)
    command = [sys.executable, "-m", "pipelines.web_interface", "--workspace", str(workspace)]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=PROJECT,
        env=os.environ | {"DAGSTER_HOME": str(home), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield port, process
    process.send_signal(signal.SIGINT)
    process.wait(30)


@pytest.fixture(scope="module")
def cookie(ui):
    link = next_link(ui)
    answer = asked(ui, "GET", f"/?{urlsplit(link).query}")
    return answer.headers["set-cookie"].partition(";")[0]


def next_link(ui):
    return next(word for word in ui[1].stdout.readline().split() if word.startswith("http"))


def asked(ui, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", ui[0], timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.text = answer.read().decode()
    return answer


def mutated(ui, cookie, **headers):
    body = json.dumps({"query": MUTATION})
    return asked(ui, "POST", "/graphql", body, content_type="application/json", cookie=cookie, **headers)


def test_only_its_own_pages_command_it(ui, cookie):
    own = f"http://127.0.0.1:{ui[0]}"
    assert mutated(ui, cookie, origin=own).status == 200
    assert mutated(ui, "").status == 401
    assert mutated(ui, cookie, origin="http://evil.example").status == 403
    assert mutated(ui, cookie, sec_fetch_site="same-site").status == 403
    assert mutated(ui, cookie, host="evil.example").status == 421
    assert asked(ui, "GET", f"/graphql?query={quote(MUTATION)}", cookie=cookie).status == 405


def test_its_page_and_the_scripts_of_that_load(ui, cookie):
    page = asked(ui, "GET", "/", cookie=cookie)
    assert page.status == 200 and "Dagster" in page.text
    script = page.text.partition('<script src="')[2].partition('"')[0] or "/favicon.png"
    assert asked(ui, "GET", script, cookie=cookie).status == 200
    assert asked(ui, "GET", script).status == 401


def test_subscriptions_come_through_for_its_own_pages_only(ui, cookie):
    own, place = f"http://127.0.0.1:{ui[0]}", f"ws://127.0.0.1:{ui[0]}/graphql"
    with connect(place, origin=own, additional_headers={"cookie": cookie}, subprotocols=["graphql-ws"]) as ws:
        ws.send(json.dumps({"type": "connection_init"}))
        assert json.loads(ws.recv(30))["type"] == "connection_ack"
    for origin, given in (("http://evil.example", cookie), (own, "")):
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(place, origin=origin, additional_headers={"cookie": given}),
        ):
            pass
        assert refused.value.response.status_code == 403


def test_a_browser_shows_it_by_the_link(ui, cookie, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no chromium on this machine")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    shown = subprocess.run(
        [*command, "--virtual-time-budget=20000", "--dump-dom", next_link(ui)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Who are you?" not in shown.stdout
    assert "Overview" in shown.stdout and "Runs" in shown.stdout  # drawn by its scripts, from what they asked
