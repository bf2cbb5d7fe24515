"""The engine of Ray: what the local one says, whatever dies on the way, and nothing of it where it is not
chosen."""

import ipaddress
import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import psutil
import pytest
from PIL import Image
from pydantic import ValidationError
from tiny_oracles import Elsewhere, Oracle, Script, marks

from inference import asking, environments, questions, ray_engine
from inference.asking import Question, ask
from inference.needs import Need
from settings.profile import LocalEngine, RayEngine
from store import Store
from store.hashing import hash_file

PROJECT = Path(__file__).parents[3]
ANSWER = {"letters": pl.Int64, "reader": pl.Int64}
TWO = {"kind": "ray", "actors": 2}


@pytest.fixture(scope="module")
def ray():
    """Imported by the engine, which has something to say before. Its actors find what lies in tests/."""
    if find_spec("ray") is None:
        pytest.skip("the extra ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), str(PROJECT / "tests")]))
        yield ray_engine._connected(RayEngine(**TWO))
        sys.modules["ray"].shutdown()


@pytest.fixture
def asked(ray, tmp_path):
    """Ask an oracle about `count` requests, 8 at a time; what was said of the engine, too."""
    store, said = Store(tmp_path / "home"), []

    def asked(oracle, count=20, chunk=8, **settings):
        requests = about(count)
        engine = ray_engine.engine(RayEngine(**{**TWO, **settings}), said.append)
        return ask(store, Question("letters", oracle, ANSWER), requests, chunk=chunk, engine=engine)

    asked.store, asked.said = store, said
    return asked


def about(count):
    paths = [f"/{number}" for number in range(count)]
    return pl.DataFrame({"path": paths, "content_hash": [f"{number:032}" for number in range(count)]})


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "marks"
    place.mkdir()
    return place


def rows(store):
    return pl.read_delta(str(store.home / "memo" / "letters"))


def test_two_readers_share_the_work_and_more_than_there_is_room_for_keep_nothing_waiting(asked, folder):
    found = asked(Oracle(folder, seconds=0.1), count=40, chunk=4, actors=7)
    assert found.frame["letters"].to_list() == [*range(40)] and found.asked == 40
    assert found.frame["reader"].n_unique() >= 2 and asked.said == []
    assert asked(Oracle(folder), count=40).asked == 0 and set(marks(folder).values()) == {1}


def test_its_servers_listen_on_loopback_only_and_nothing_is_reported(asked, folder, ray):
    asked(Oracle(folder), count=1)
    listening = [
        ipaddress.ip_address(connection.laddr.ip)
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening and all((ip.ipv4_mapped or ip).is_loopback for ip in listening if ip.version == 6)
    assert all(ip.is_loopback for ip in listening if ip.version == 4)
    from ray._common.usage import usage_lib

    assert not usage_lib.usage_stats_enabled()


def test_a_killed_reader_loses_and_doubles_nothing(asked, folder):
    found = asked(Oracle(folder, kills=("/3", "/11"), once=True))
    assert found.frame["letters"].to_list() == [*range(20)] and found.frame["reason_code"].null_count() == 20
    assert rows(asked.store).height == rows(asked.store)["key"].n_unique() == 20
    assert marks(folder)["3"] == marks(folder)["11"] == 2 and len(asked.said) == 2


def test_a_picture_that_kills_its_readers_is_set_aside_and_the_run_ends(asked, folder):
    found = asked(Oracle(folder, kills=("/5",), corrupt=("/6",)))
    dropped = found.frame.filter(pl.col("letters").is_null())
    assert dropped["reason_code"].to_list() == ["kills_worker", "corrupt_image"]
    assert dropped["reason_detail"].to_list() == ["oracle was killed 3 times over it alone", "cut short"]
    assert found.frame["letters"].count() == len(asked.store.memo("letters")) == 18
    assert marks(folder)["5"] <= 6
    again = asked(Oracle(folder, kills=("/5",), corrupt=("/6",)))
    assert again.asked == 0 and again.frame.equals(found.frame)


WORKER = """
import os, signal, sys
sys.path.insert(0, {room!r})
import answering
from pathlib import Path
def load(settings, log):
    open(Path(settings["folder"]) / f"loaded-{{os.getpid()}}", "w").close()
    def answers(requests):
        for one in requests:
            if one["path"] == settings["kills"]:
                os.kill(os.getpid(), signal.SIGKILL)
            yield {{"key": one["key"], "letters": int(one["path"][1:]), "reader": os.getpid()}}
    return answers
answering.serve(load)
"""


def test_workers_of_other_environments_are_kept_by_actors_and_may_be_killed(
    asked, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(environments, "pins", lambda name: {})  # this one is made up
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(room=str(environments.HERE)))

    def model(kills):
        return Elsewhere(Script(str(script), {"folder": str(folder), "kills": kills}))

    found = asked(model(None), count=24, chunk=4)
    assert found.frame["letters"].to_list() == [*range(24)] and asked.said == []
    assert len(list(folder.iterdir())) <= 2, "a worker for each share"
    killing = asked(model("/26"), count=30, chunk=4)
    assert killing.frame["letters"].to_list() == [n if n != 26 else None for n in range(30)]
    assert killing.frame["reason_code"][26] == "kills_worker"
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(script) in (one.info["cmdline"] or ())]


def test_a_model_that_kills_whoever_has_it_is_blamed_itself(asked, folder, monkeypatch):
    monkeypatch.setattr(ray_engine, "IN_VAIN", 4)
    everything = tuple(f"/{number}" for number in range(20))
    with pytest.raises(ray_engine.EngineFailed, match=r"4 actors died .* fit into memory\? engine\.actors"):
        asked(Oracle(folder, kills=everything))


def test_what_a_model_raises_is_raised_and_what_was_said_before_is_kept(asked, folder):
    with pytest.raises(FloatingPointError, match="/9 is no number"):
        asked(Oracle(folder, fails=("/9",)), actors=1, chunk=6)
    assert len(asked.store.memo("letters")) >= 6


def test_no_room_for_an_actor_is_an_error_that_says_what_there_is(asked, folder):
    with pytest.raises(ray_engine.EngineFailed, match="no machine of Ray has 1 CPUs and 64 GPUs"):
        asked(Oracle(folder), gpus=64)


def test_every_question_has_the_same_table_as_here(ray, tmp_path):
    """Models of all the classes that stages ask, tiny. The picture that does not decode comes last: before
    others it would shift the batches, and other batches round differently."""
    import tiny_world

    from inference.autoencoder import Autoencoder
    from inference.generation import Generator

    models = tiny_world.write_models(tmp_path / "models")
    paths = []
    for number in range(20):
        colours = [(12 * number, 40 * x, 255 - 12 * number) for x in range(6)]
        picture = Image.new("RGB", (6, 1))
        picture.putdata(colours)
        paths.append(tmp_path / f"{number:02}.png")
        picture.resize((64, 64)).save(paths[-1])
    paths[-1].write_bytes(paths[-1].read_bytes()[:60])
    images = pl.DataFrame({"path": map(str, paths), "content_hash": map(hash_file, paths)})
    prompts = pl.DataFrame(
        {
            "prompt": ["a man", "a woman"] * 3,
            "aus": [None] * 6,
            "seed": [*range(6)],
            "guidance": [2.0] * 6,
        },
        schema_overrides={"aus": pl.List(pl.Float64)},
    )
    blip2 = {"provider": "blip2", "model": str(models / "blip2"), "batch_size": 4}
    estimator = {"provider": tiny_world.ESTIMATOR, "model": str(models / "estimator"), "batch_size": 4}
    clip = {"provider": "clip", "model": str(models / "clip"), "batch_size": 4}
    base, size = str(models / "base"), tiny_world.SIZE

    def tables(name, engine):
        store = Store(tmp_path / name)
        encoder = Autoencoder(base, batch_size=4)
        drawer = Generator(base, size=size, steps=2, batch_size=2)
        wanted = {
            "answers": (questions.answers(blip2, {"real": "Is this photo real?"}), images),
            "captions": (questions.captions(blip2), images),
            "action units": (questions.action_units(estimator), images),
            "embeddings": (questions.embeddings(clip), images),
            "text embeddings": (questions.text_embeddings(clip), prompts.select("prompt")),
            "latents": (questions.latents(encoder, size, store.files("latents")), images),
            "pictures": (questions.pictures(drawer, store.files("generated")), prompts),
        }
        return {
            what: ask(store, question, about, chunk=8, engine=engine).frame
            for what, (question, about) in wanted.items()
        }

    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as an actor of one CPU: other threads, other rounding
    here = tables("here", asking.local)
    torch.set_num_threads(threads)
    there = tables("there", ray_engine.engine(RayEngine(**TWO), print))
    for what, table in here.items():
        assert there[what].equals(table), what
    assert here["captions"]["reason_code"].to_list()[-1] == "corrupt_image"


def test_a_lost_machine_loses_and_doubles_nothing(ray, folder, tmp_path):
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    ray.shutdown()
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    lost = cluster.add_node(num_cpus=1)
    try:
        cluster.wait_for_nodes()
        settings = RayEngine(kind="ray", address=cluster.address)
        store, said, oracle = Store(tmp_path / "home"), [], Oracle(folder, seconds=0.2)
        stream = ray_engine.engine(settings, said.append)

        def losing(model, missing, together):
            seen = set()
            for row in stream(model, missing, together):
                seen.add(row["reader"])
                if len(seen) == 2 and lost in cluster.worker_nodes:
                    cluster.remove_node(lost, allow_graceful=False)
                yield row

        found = ask(store, Question("letters", oracle, ANSWER), about(60), chunk=10, engine=losing)
        assert lost not in cluster.worker_nodes and found.asked == 60 and len(said) >= 1
        assert found.frame["letters"].to_list() == [*range(60)]
        assert rows(store).height == rows(store)["key"].n_unique() == 60
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_nothing_of_ray_is_imported_until_it_is_chosen_and_something_is_to_be_asked(tmp_path):
    code = f"""
import sys, polars as pl
sys.path[:0] = [{str(PROJECT)!r}, {str(PROJECT / "tests")!r}]
from pathlib import Path
from tiny_oracles import Oracle
from inference import asking, ray_engine
from settings.profile import RayEngine
from store import Store
store, folder = Store({str(tmp_path / "home")!r}), Path({str(tmp_path)!r})
question = asking.Question("letters", Oracle(folder), {{"letters": pl.Int64, "reader": pl.Int64}})
requests = pl.DataFrame({{"path": ["/1"], "content_hash": ["1"]}})
asking.ask(store, question, requests, chunk=8)
engine = ray_engine.engine(RayEngine(kind="ray"), print)
assert asking.ask(store, question, requests, chunk=8, engine=engine).reused == 1
assert "ray" not in sys.modules
import pipelines.definitions
assert "ray" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_a_store_sent_along_leaves_its_listener_behind(tmp_path):
    store = Store(tmp_path)
    store.on_read = lambda stage, version: None
    files = pickle.loads(pickle.dumps(store.files("latents")))
    assert files.folder == store.files("latents").folder and files.lost([]) == []


def test_what_it_needs_is_told_before_it_is_asked(monkeypatch):
    def said(**settings):
        return {need.what: need.problem for need in ray_engine.needs(RayEngine(kind="ray", **settings))}

    assert set(said()) == {"the package ray"}
    closed = said(address="127.0.0.1:9")["the Ray cluster 127.0.0.1:9"]
    assert closed.startswith("does not answer")
    monkeypatch.setattr(ray_engine, "package", lambda *_: Need("the package ray", "is not installed"))
    assert said()["the package ray"] == "is not installed"
    assert said(gpus=64)["64 GPUs for an actor of Ray"].startswith("torch sees ")


@pytest.mark.parametrize("wrong", [{"actors": 0}, {"address": "ray://head:10001"}, {"gpu": 1}, {"cpus": 0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        RayEngine(kind="ray", **wrong)
    assert LocalEngine().kind == "local"
