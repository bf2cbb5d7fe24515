"""The server: pages, pictures, and that nothing of them is loaded from elsewhere."""

import re

import app_home
import pytest
from starlette.testclient import TestClient

from app import server
from app.site import PAGES, Site
from pipelines import profiles
from store import Store


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    store = app_home.write(tmp_path_factory.mktemp("home"))
    return Site(store, profiles.load("miniature", store.home), "miniature", store.append, "Ada")


@pytest.fixture(scope="module")
def client(site) -> TestClient:
    return TestClient(server.application(site))


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_elsewhere(client, path):
    answer = client.get(f"/{path}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy
    loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"'](https?:[^\"']+)", answer.text)
    assert [one for one in loaded if not one.startswith(str(client.base_url))] == []
    assert '"analytics_enabled":false' in answer.text.replace(" ", "")


def test_pictures_are_served_small_and_what_is_none_says_why(client):
    answer = client.get("/picture/96/raw_affectnet/faces/smile.png")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    absent = client.get("/picture/96/raw_affectnet/faces/<absent>.png")
    assert absent.status_code == 404 and absent.headers["content-type"] == "image/svg+xml"
    assert "<absent>" not in absent.text
    assert client.get("/picture/96/raw_affectnet/..%2F..%2Fhome/report.html").status_code == 404


def test_generated_pictures_and_the_report_are_served_as_they_are(client, site):
    name = site.store.files("generated").put(b"a picture", ".png")
    assert client.get(f"/generated/{name}").content == b"a picture"
    assert client.get("/generated/report.html").status_code == 404
    assert client.get("/report").status_code == 404
    (site.store.home / "report.html").write_text("<h1>Report</h1>")
    assert client.get("/report").text == "<h1>Report</h1>"


def test_a_home_without_anything_has_every_page(tmp_path):
    empty = Site(Store(tmp_path), profiles.load("miniature", tmp_path), "miniature", print, "Ada")
    answers = [TestClient(server.application(empty)).get(f"/{path}").status_code for path in PAGES]
    assert answers == [200] * len(PAGES)
