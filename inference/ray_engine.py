"""The engine that asks in actors of Ray: a copy of the model on every GPU of this machine, or on the machines
of a cluster. Actors answer, the asking process alone remembers. Ray is imported when a model is first asked.

Actors are driven one share of the requests at a time instead of by Ray Data, whose retries cannot tell a
picture that kills its reader from a machine that was lost, and which starts three processes more.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from inference.asking import Engine, Model
from inference.child import ChildFailed
from inference.needs import Need, package
from inference.running import Running
from settings.profile import RayEngine

INSTALL = "pip install 'fineface[ray]'"
TOGETHER_SECONDS = 0.5
"""An actor sends the answers of so long together."""
PARTS = 8
"""Into so many a share is split of which something seems to kill its reader."""
TRIES = 3
"""So many readers die over a request that is asked alone before it is given up."""
IN_VAIN = 24
"""So many readers die one after another, with no answer in between, before the model is blamed."""
PATIENCE_SECONDS = 60.0
"""So long nothing is said of actors for which there is no room yet."""
EVERYWHERE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # An actor without GPUs sees none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
OF_OUR_OWN = {
    # One machine, as Ray takes macOS and Windows to be: its servers listen on 127.0.0.1 alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Actors do a run's work; at Ray's niceness of 15 whatever else the machine does would come first.
    "RAY_worker_niceness": "0",
}
"""What Ray reads of the environment when it is imported and started."""
CLUSTER = "docs/machines.md shows how one is started; engine.address: null takes this machine alone"
NOTHING = pl.DataFrame(schema={"key": pl.String})


class EngineFailed(RuntimeError):
    """Ray is not there, has no room for an actor, or its actors die over everything they are asked."""


def engine(settings: RayEngine, say: Callable[[str], None]) -> Engine:
    """The engine that `settings` describe; `say` is told which actors died."""
    return partial(_answers, settings, say)


def needs(settings: RayEngine) -> Iterator[Need]:
    """The package; the cluster, or the GPUs of this machine."""
    yield package("ray", INSTALL)
    if settings.address is not None and settings.address != "auto":
        host, _, port = settings.address.rpartition(":")
        yield Need(f"the Ray cluster {settings.address}", _unreachable(host.strip("[]"), int(port)), CLUSTER)
    elif settings.address is None and settings.gpus > 0:
        import torch

        there = torch.cuda.device_count()
        problem = f"torch sees {there}" if there < settings.gpus else ""
        yield Need(f"{settings.gpus:g} GPUs for an actor of Ray", problem, "engine.gpus: 0 asks on CPUs")


def _unreachable(host: str, port: int) -> str:
    try:
        socket.create_connection((host, port), 5.0).close()
    except OSError as error:
        return f"does not answer ({error})"
    return ""


@dataclass
class Share:
    """Requests that an actor is asked together. deaths: of actors over them, without an answer in between."""

    requests: pl.DataFrame
    deaths: int = 0
    answered: set[str] = field(default_factory=set)

    def left(self) -> pl.DataFrame:
        return self.requests.filter(~pl.col("key").is_in(self.answered))


def _answers(
    settings: RayEngine, say: Callable[[str], None], model: Model, requests: pl.DataFrame, together: int
) -> Iterator[dict[str, Any]]:
    """An `inference.asking.Engine`: answers in the order in which they come.

    A share of `together` requests is asked anew as it is when its actor died (for want of memory, or with its
    machine); dies a second one with no answer in between, it is split, down to single requests. A picture
    that three actors died over is a problem of its row, and the others are answered.

    Raises EngineFailed, and what the model raised itself: that would only come again.
    """
    shares = deque(Share(part) for part in requests.iter_slices(together))
    in_vain = 0
    with _pool(settings, model, len(shares), say) as pool:
        while shares or pool.running:
            pool.give(shares)
            share, rows, death = pool.next()
            share.answered.update(row["key"] for row in rows)
            yield from rows
            if rows:
                in_vain = share.deaths = 0
            if death is None:
                continue
            share.deaths, in_vain, left = share.deaths + 1, in_vain + 1, share.left()
            say(f"{model.name}: an actor died over {left.height} requests ({death}); {in_vain} in a row")
            if in_vain >= IN_VAIN:
                raise EngineFailed(
                    f"{model.name}: {in_vain} actors died one after another and nothing was answered in "
                    f"between, last over {left.height} requests ({death}). Does the model fit into memory? "
                    "engine.actors: fewer at once; engine.cpus, engine.gpus: more for each"
                )
            if left.height == 1 and share.deaths >= TRIES:
                yield _given_up(model, left)
            else:
                shares.extendleft(reversed([*_again(left, share.deaths)]))


def _again(left: pl.DataFrame, deaths: int) -> Iterator[Share]:
    """What is still to be asked of a share over which actors died."""
    if deaths < 2 or left.height == 1:
        yield from [Share(left, deaths)] if left.height else []
    else:
        size = -(-left.height // PARTS)
        # A part gets no second try as it is; a request alone gets all three.
        yield from (Share(part, deaths=int(part.height > 1)) for part in left.iter_slices(size))


def _given_up(model: Model, request: pl.DataFrame) -> dict[str, Any]:
    """The row of a picture that kills whoever reads it. Raises EngineFailed for a request without one."""
    row = request.row(0, named=True)
    if "path" not in row:
        raise EngineFailed(f"{model.name}: {TRIES} actors died over {row}")
    return {
        "key": row["key"],
        "killed": True,
        "problem": f"{model.name} was killed {TRIES} times over it alone",
    }


class _Pool:
    """At most `most` actors, which are starting, free, or asked."""

    def __init__(self, ray: Any, kind: Any, model: Model, most: int, say: Callable[[str], None]) -> None:
        self._ray, self._kind, self._most, self._say = ray, kind, most, say
        self._model = ray.put(model)
        self._starting: dict[Any, Any] = {}
        self._free: list[Any] = []
        self.running: dict[Any, tuple[Any, Share]] = {}

    def give(self, shares: deque[Share]) -> None:
        """Ask the free actors, and start more where there is work for them. Only who runs is given work: an
        actor for which there is no room (yet) keeps nothing waiting."""
        while self._free and shares:
            actor, share = self._free.pop(), shares.popleft()
            self.running[actor.answers.remote(share.requests)] = actor, share
        there = len(self._starting) + len(self._free) + len(self.running)
        for _ in range(min(self._most - there, len(shares) - len(self._starting))):
            actor = self._kind.remote()
            self._starting[actor.take.remote(self._model)] = actor

    def next(self) -> tuple[Share, list[dict[str, Any]], str | None]:
        """What is said next: of a share some answers, and, if its actor died, of what. Neither, of no share
        or one that is done, where an actor has become free."""
        ref = self._first()
        if starts := ref in self._starting:
            actor, share = self._starting.pop(ref), Share(NOTHING)
        else:
            actor, share = self.running[ref]
        death = None
        try:
            if not starts:
                return share, self._ray.get(next(ref)), None
            self._ray.get(ref)
        except StopIteration:
            pass  # its share is done
        except self._ray.exceptions.RayError as error:
            if isinstance(error, self._ray.exceptions.RayTaskError) and not _killed(error.cause):
                raise
            death = str(error).strip().partition("\n")[0][:200]
            self._ray.kill(actor)
        self.running.pop(ref, None)
        if death is None:
            self._free.append(actor)
        return share, [], death

    def close(self) -> None:
        """End all actors."""
        for actor in (*self._starting.values(), *self._free, *(actor for actor, _ in self.running.values())):
            self._ray.kill(actor)

    def _first(self) -> Any:
        """The first of what actors were asked, to begin or to answer, that has something to say."""
        while True:
            waiting = [*self._starting, *self.running]
            ready, _ = self._ray.wait(waiting, num_returns=1, timeout=PATIENCE_SECONDS, fetch_local=False)
            if ready:
                return ready[0]
            if not self.running:
                free = self._ray.available_resources()
                self._say(f"no actor of Ray began in {PATIENCE_SECONDS:.0f} s; free: {free}")


def _killed(cause: BaseException | None) -> bool:
    """Whether the actor's own worker, in an environment of its own, was killed."""
    return isinstance(cause, ChildFailed) and cause.killed


@contextmanager
def _pool(settings: RayEngine, model: Model, shares: int, say: Callable[[str], None]) -> Iterator[_Pool]:
    """Actors for so many shares, gone afterwards. Raises EngineFailed where there is no room for one."""
    ray = _connected(settings)
    room = sum(_room(settings, node["Resources"]) for node in ray.nodes() if node["Alive"])
    if room < 1:
        raise EngineFailed(
            f"no machine of Ray has {settings.cpus} CPUs and {settings.gpus:g} GPUs for an actor "
            f"(engine.cpus, engine.gpus); all together have {ray.cluster_resources()}"
        )
    remote = ray.remote(num_cpus=settings.cpus, num_gpus=settings.gpus, max_restarts=0, max_task_retries=0)
    pool = _Pool(ray, remote(_Reader), model, min(settings.actors or room, shares), say)
    try:
        yield pool
    finally:
        pool.close()


def _room(settings: RayEngine, resources: dict[str, float]) -> int:
    """How many actors a machine with these resources has room for."""
    fits = resources.get("CPU", 0) / settings.cpus
    return int(min(fits, resources.get("GPU", 0) / settings.gpus) if settings.gpus else fits)


class _Reader:
    """What an actor is: a copy of a model that answers requests, with its worker if it has one."""

    def take(self, model: Any) -> None:
        """Begin with that."""
        worker = getattr(model, "worker", None)
        if worker is None:
            self._read = model.read
        else:
            log = Path(tempfile.mkdtemp(prefix="fineface-")) / f"{worker.environment}.txt"
            self._read = Running(worker, log, print).answers

    def answers(self, requests: pl.DataFrame) -> Iterator[list[dict[str, Any]]]:
        """The rows of each half a second together; when the model fails, those that it had given first."""
        rows, sent = [], time.monotonic()
        try:
            for row in self._read(requests):
                rows.append(row)
                if time.monotonic() - sent >= TOGETHER_SECONDS:
                    yield rows
                    rows, sent = [], time.monotonic()
        except Exception:
            yield rows
            raise
        yield rows


def _connected(settings: RayEngine) -> Any:
    """Ray, connected to the cluster, or with one of this machine's own that ends with this process."""
    os.environ |= EVERYWHERE
    if settings.address is None:
        os.environ |= OF_OUR_OWN
    try:
        import ray
    except ImportError as error:
        raise EngineFailed(f"engine.kind: ray needs the package ray: {INSTALL}") from error
    if ray.is_initialized():
        return ray
    place: dict[str, Any] = {"address": settings.address}
    if settings.address is None:
        place = {"address": "local", "include_dashboard": False}
    with _keeping_handlers():
        try:
            ray.init(**place, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError) as error:
            raise EngineFailed(f"Ray at {settings.address or 'this machine'}: {error}; {CLUSTER}") from error
    return ray


@contextmanager
def _keeping_handlers() -> Iterator[None]:
    """Ray takes SIGTERM for itself; whoever runs us has use for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
