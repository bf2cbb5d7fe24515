"""The faults that the campaign injects: where in a run, and what each does to the home or to its processes.

A moment is a stage and a share of what happens in it: the files it opens, writes, renames, the tables it
commits, the events it logs. So a seed gives the same moment on a slow machine and on a fast one.
"""

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

TICKS = ("open", "os.rename", "os.replace", "os.mkdir", "os.remove", "os.truncate", "os.chmod")

ROTTEN = {
    "memo chunk": "memo/*/*.parquet",
    "memo log": "memo/*/_delta_log/*.json",
    "table": "tables/**/*.parquet",
    "table log": "tables/**/_delta_log/*.json",
    "latents": "files/latents/*/*",
    "picture": "files/generated/*/*",
    "frame": "files/frames/*/*",
    "weights": "files/adapters/*/output/model/*.safetensors",
    "checkpoint": "files/adapters/*/output/checkpoints/*/*",
    "cache": "cache/*/*.parquet",
}
"""What rots, and where it lies in a home."""

FIRST = 6
"""The stages of raw data, and of what people write, come before all others."""
TRAINING = "experiment fineface/trained_model"

WEIGHTS = {
    "kill": 5,
    "terminate": 2,
    "kill child": 2,
    "truncate": 3,
    "fill": 3,
    "interpreter": 2,
    "rot": 6,
    "two": 3,
}
"""The kinds of faults, and how often each is drawn."""


@dataclass(frozen=True)
class Injection:
    """What is done to one run: `fault` at the moment `share` of `stage`, with randomness of its own."""

    number: int
    fault: str
    stage: str
    share: float
    seed: str
    rotten: str | None = None


def draw(seed: int, number: int, stages: list[str]) -> Injection:
    """The injection of that number; the same whatever came before it."""
    name = f"{seed}/{number}"
    dice = random.Random(name)
    (fault,) = dice.choices([*WEIGHTS], [*WEIGHTS.values()])
    share = dice.random()
    at = stages
    if fault == "kill child":
        at = [one for one in stages if one.split("/")[-1] in ("au_annotation", "disfa_readings")]
        at += [TRAINING] * 3 * (TRAINING in stages)
    if fault == "interpreter":
        at = [one for one in stages if one != TRAINING and one.startswith("data_set/")]
    stage = dice.choice(at or stages)
    rotten = dice.choice([*ROTTEN]) if fault == "rot" else None
    if rotten == "checkpoint" and TRAINING in stages:
        stage = TRAINING
    elif rotten and stage in stages[:FIRST]:
        stage = dice.choice(stages[FIRST:])  # before, there is little or nothing that could rot
    return Injection(number, fault, stage, share, name, rotten)


class Clock:
    """Counts what happens in a run, by stage, and calls `act` at one moment of it. Lives in the run's
    process."""

    def __init__(self, home: Path, on_stage=None):
        self.home, self.stage, self.ticks = str(home), "", Counter()
        self._on_stage, self._at, self._act, self._job = on_stage, None, None, ""
        self._hook()

    def set(self, stage: str, tick: int, act) -> None:
        """Call `act` at that tick of the stage, or when the stage is over."""
        self._at, self._act = (stage, tick), act

    def tick(self) -> None:
        """One thing happened."""
        self.ticks[self.stage] += 1
        if self._at is not None and self._at[0] == self.stage and self.ticks[self.stage] > self._at[1]:
            self._fire()

    def _fire(self) -> None:
        act, self._at = self._act, None
        act()

    def _hook(self) -> None:
        from inference import child
        from pipelines.console import Console
        from store.delta import Delta

        clock, hear, listener, write, lines = self, Console._hear, Console.listener, Delta.write, child.lines

        def heard(console, entry):
            event = entry.dagster_event
            if event is not None and event.event_type_value == "STEP_START":
                clock._begins(f"{clock._job}/{event.step_key}")
            clock.tick()
            hear(console, entry)

        def listened(console, job, partition):
            clock._job = job if partition is None else f"{job} {partition}"
            return listener(console, job, partition)

        def written(delta, *given, **more):
            clock.tick()
            try:
                return write(delta, *given, **more)
            finally:
                clock.tick()

        def told(*given, **more):
            for line in lines(*given, **more):
                clock.tick()
                yield line

        def audited(event, arguments):
            if event in TICKS and threading.current_thread() is threading.main_thread():
                named = arguments[0]
                if isinstance(named, str | os.PathLike) and os.fspath(named).startswith(clock.home):
                    clock.tick()

        Console._hear, Console.listener, Delta.write, child.lines = heard, listened, written, told
        sys.addaudithook(audited)

    def _begins(self, stage: str) -> None:
        if self._at is not None and self.stage == self._at[0]:
            self._fire()
        self.stage = stage
        if self._on_stage is not None:
            self._on_stage(stage)


def act(injection: Injection, home: Path, environment: Path, note):
    """What the run's process does at the moment; `note` is told."""
    dice = random.Random(injection.seed + "/act")
    soon = dice.random() * 0.03

    def kill() -> None:
        note(f"killed {soon * 1000:.0f} ms later")
        time.sleep(0)  # what is under way goes on in other threads
        threading.Timer(soon, os.kill, (os.getpid(), signal.SIGKILL)).start()

    def terminate() -> None:
        note("asked to end")
        os.kill(os.getpid(), signal.SIGTERM)

    def kill_child() -> None:
        def strike() -> None:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                found = [one for one in psutil.Process().children(recursive=True) if _works(one)]
                if found:
                    victim = dice.choice(found)
                    time.sleep(soon)
                    note(f"killed process {victim.pid} of {len(found)}")
                    with suppress(psutil.NoSuchProcess):
                        victim.kill()
                    return
                time.sleep(0.005)
            note("there was no process to kill")

        threading.Thread(target=strike, daemon=True).start()

    def truncate() -> None:
        """As a machine leaves files that loses its power: the last ones short, and all processes gone."""
        note("lost its power")
        last = sorted(_files(home), key=lambda path: path.stat().st_mtime_ns)[-dice.randint(1, 3) :]
        for path in last:
            size = path.stat().st_size
            os.truncate(path, dice.randint(0, max(0, size - 1)))
            note(f"cut {path.relative_to(home)} from {size} bytes to {path.stat().st_size}")
        os.kill(os.getpid(), signal.SIGKILL)

    def fill() -> None:
        left = dice.choice([0, 0, 4096, 100_000, 1_000_000, 20_000_000])
        noise = bytes(1 << 20)
        with (home / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(noise)
        with (home / "filler").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(noise[:4096])
        size = (home / "filler").stat().st_size
        os.truncate(home / "filler", max(0, size - left))
        note(f"filled but for {left} bytes")

    def interpreter() -> None:
        (environment / "bin" / "python").unlink()
        note("removed the environment's python")

    def rot() -> None:
        kinds = [injection.rotten, *dice.sample([*ROTTEN], len(ROTTEN))]  # another where there is none of it
        there = ([path for path in sorted(home.glob(ROTTEN[kind])) if path.is_file()] for kind in kinds)
        found = next(filter(None, there), None)
        if found is None:
            return note("there was nothing yet to rot")
        path = dice.choice(found)
        how = dice.choice(["a bit", "cut", "gone", "zeros", "noise"])
        spoil(path, how, dice)
        note(f"{how}: {path.relative_to(home)}")

    return {
        "kill": kill,
        "terminate": terminate,
        "kill child": kill_child,
        "truncate": truncate,
        "fill": fill,
        "interpreter": interpreter,
        "rot": rot,
        "two": lambda: note("nothing but the other run"),
    }[injection.fault]


def spoil(path: Path, how: str, dice: random.Random) -> None:
    """Damage a file in one of the ways in which files are damaged. Its name and time stay if they can."""
    content, before = path.read_bytes(), path.stat()
    at = dice.randrange(len(content)) if content else 0
    if how == "gone":
        return path.unlink()
    if how == "cut":
        content = content[:at]
    elif how == "a bit" and content:
        content = content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :]
    elif how == "zeros":
        content = content[:at] + bytes(len(content) - at)
    elif how == "noise":
        content = dice.randbytes(len(content))
    path.write_bytes(content)
    if dice.random() < 0.5:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _works(process: psutil.Process) -> bool:
    """Whether a child is a training or a worker, and not one that only waits to become one."""
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE and (
            "worker" in " ".join(process.cmdline()) or process.num_threads() > 1
        )
    return False


def _files(home: Path) -> list[Path]:
    """The files of a home; Dagster's own record of runs is a database with a journal, and left out."""
    found = []
    for above, _, names in os.walk(home):
        if Path(above).relative_to(home).parts[:1] != ("dagster",):
            found += [Path(above) / name for name in names]
    return [path for path in found if path.is_file()]
