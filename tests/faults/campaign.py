"""A campaign of faults against the whole miniature graph: `PYTHONPATH=.:tests python -m faults.campaign`.

Each injection begins with the home as it was when its stage began, disturbs a run, and lets the graph run to
its end. Then every table, its rows and those of every memo equal those of an undisturbed graph; or one error
named what is broken and the command that mends it, and they are equal after that.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path

import yaml
from faults import foreign, injections, warm
from faults.injections import Clock, Injection

import stages
from store import MissingTable, file_system
from store.store import RAW

MEND = re.compile(r"fineface (repair|run --select [\w+]+|environment create \w+)")
REPAIR = "fineface repair"
FAILED = re.compile(r"^  (?:\S+) FAILED: (.*)$", re.MULTILINE)
TOLERANCE = 1e-5
"""How far decimals may be apart, relatively and in themselves: float32 has seven digits."""
PLACES = ("file", "row")
SMALL = "300m"
"""The size of the file system that is filled: a home and its reserve have room in it."""


NAMES = {stage.name for stage in stages.STAGES}
"""The steps at which the campaign begins; those of checks belong to their stage."""


class Violation(AssertionError):
    """The graph did not keep its promise."""


class Campaign:
    """The undisturbed graph in `folder`, the home as it was before each of its stages, and the injections."""

    def __init__(self, folder: Path, seed: int, select: str | None):
        self.folder, self.seed = folder, seed
        self.part = [] if select is None else ["--select", select]
        self.world, self.whole, self.home = folder / "world", folder / "undisturbed", folder / "home"
        self.before: dict[str, Path] = {}
        self.ticks: dict[str, int] = {}
        self.mounts = _mounted(folder / "try")
        _unmount(folder / "try")

    def prepare(self) -> None:
        """Make the world and run the graph undisturbed."""
        environment = foreign.make_environment(self.folder / "environment")
        self._checked(lambda: _write_world(self.world), "world")
        counts = self.folder / "ticks.json"

        def undisturbed() -> int:
            seen: list[str] = []

            def keep(stage: str) -> None:
                if stage.split("/")[1] in NAMES:
                    seen.append(stage)
                    _copy(self.whole, self.folder / "before" / str(len(seen)))

            clock = Clock(self.whole, keep)
            code = self._graph(self.whole)
            counts.write_text(json.dumps([[stage, clock.ticks[stage]] for stage in seen]))
            return code

        self._checked(undisturbed, "undisturbed", environment)
        counted = json.loads(counts.read_text())
        self.ticks = dict(counted)
        self.before = {stage: self.folder / "before" / str(n + 1) for n, (stage, _) in enumerate(counted)}
        _load(self.world / "tiny.yaml", self.home)
        warm.alone()

    def inject(self, injection: Injection) -> dict:
        """Disturb a run as `injection` says and see the graph to its end; what happened. Raises Violation."""
        place, home = self.folder / f"{injection.number}", self.home
        place.mkdir()
        notes = place / "notes"
        try:
            if injection.fault == "fill":
                _mounted(home)
            shutil.copytree(self.before[injection.stage], home, symlinks=True, dirs_exist_ok=True)
            environment = shutil.copytree(self.folder / "environment", place / "environment")
            return self._injected(injection, home, notes, environment)
        except Violation as error:
            raise Violation(f"{notes.read_text() if notes.exists() else ''}{error}") from None
        finally:
            _unmount(home)
            shutil.rmtree(home, ignore_errors=True)
            shutil.rmtree(place, ignore_errors=True)

    def _injected(self, injection: Injection, home: Path, notes: Path, environment: Path) -> dict:
        def note(text: str) -> None:
            with notes.open("a") as file:
                file.write(text + "\n")

        job, stage = injection.stage.split("/")

        def disturbed() -> int:
            clock = Clock(home)
            tick = int(injection.share * self.ticks[injection.stage])
            clock.set(injection.stage, tick, injections.act(injection, home, environment, note))
            # what is before an experiment is spared by itself, what is before another stage is not asked for
            rest = [one.split("/")[1] for one in self.before]
            rest = rest[rest.index(stage) :] if job == "data_set" else []
            chosen = ["--select", ", ".join(dict.fromkeys(rest))] if rest else []
            return _command("run", self.world / "tiny.yaml", home, *(self.part or chosen))

        log, other = notes.with_name("disturbed.log"), notes.with_name("other.log")
        first = self._start(disturbed, log, environment)
        if injection.fault == "two":
            time.sleep(random.Random(injection.seed).random())
            second = self._start(lambda: self._graph(home), other, environment)
            if code := warm.wait(second):
                raise Violation(f"the second of two runs ended with {code}:\n{_tail(other)}")
        code = warm.wait(first)
        said = notes.read_text().splitlines() if notes.exists() else []
        if not said:
            raise Violation(f"the moment never came; the run ended with {code}:\n{_tail(log)}")
        (home / "filler").unlink(missing_ok=True)
        outcome = {"disturbed": code, "notes": said}
        if code > 0 and injection.fault != "terminate":
            outcome["said"] = self._one_error(log, injection.fault == "fill")
        if injection.fault == "two" and code:
            raise Violation(f"the first of two runs ended with {code}:\n{_tail(log)}")
        return outcome | self._to_the_end(injection, home, environment)

    def _graph(self, home: Path) -> int:
        return _command("run", self.world / "tiny.yaml", home, *self.part)

    def _to_the_end(self, injection: Injection, home: Path, environment: Path) -> dict:
        outcome: dict = {}
        while True:
            log = environment.with_name(f"again{len(outcome)}.log")
            code = warm.wait(self._start(lambda: self._graph(home), log, environment))
            try:
                said = self._one_error(log, False) if code else None
                different = {} if code else self._compared(home, outcome.get("mended") == REPAIR)
            except Violation as error:
                if code:
                    raise
                said, different = str(error).splitlines()[-1], {}  # what reads a table finds the damage
            if said is None:
                break
            mend = MEND.search(said)
            if outcome or mend is None:
                raise Violation(f"the graph does not come to its end: {outcome or ''} {said}\n{_tail(log)}")
            outcome = {"named": said, "mended": mend[0]}
            self._mend(mend[0], home, environment)
        if not (environment / "bin" / "python").exists():
            raise Violation(f"nothing named the environment:\n{_tail(log)}")
        if different:
            raise Violation(f"tables are not those of the undisturbed graph: {different}")
        return outcome

    def _mend(self, command: str, home: Path, environment: Path) -> None:
        """Run the command that an error named."""
        if command.startswith("fineface environment create"):
            return foreign.mend(environment)
        log = environment.with_name("mending.log")
        mending = partial(_mend, self.world / "tiny.yaml", home, command.split()[1:])
        if code := warm.wait(self._start(mending, log, environment)):
            raise Violation(f"{command} ended with {code}:\n{_tail(log)}")

    def _one_error(self, log: Path, full: bool) -> str:
        """What a run that failed said. Raises Violation for a traceback, no error, or several whose mends
        differ."""
        text = log.read_text(errors="replace")
        if "Traceback (most recent call last)" in text:
            raise Violation(f"a traceback:\n{_tail(log)}")
        if full:
            said = {line for line in text.splitlines() if "is full:" in line}
        else:
            spoken = {line for line in text.splitlines() if "fineface" in line and "·" not in line}
            said = set(FAILED.findall(text)) or spoken
        mends = {mend[0] if (mend := MEND.search(one)) else one for one in said}
        several = len(mends) > 1 and not full  # two broken files are two errors that name one command
        if several or not said:
            raise Violation(f"{len(said)} errors:\n{_tail(log)}")
        return "; ".join(sorted(said))

    def _compared(self, home: Path, repaired: bool) -> dict[str, str]:
        path = self.folder / "differences.json"

        def compare() -> int:
            path.write_text(json.dumps(_differences(self.whole, home, repaired)))
            return 0

        self._checked(compare, "compare")
        return json.loads(path.read_text())

    def _start(self, target, log: Path, environment: Path | None = None) -> int:
        place = {} if environment is None else {"FINEFACE_LIBREFACE_ENVIRONMENT": str(environment)}
        return warm.start(target, log, **place)

    def _checked(self, target, name: str, environment: Path | None = None) -> None:
        log = self.folder / f"{name}.log"
        if code := warm.wait(self._start(target, log, environment)):
            raise Violation(f"{name} ended with {code}:\n{_tail(log)}")


def _copy(home: Path, target: Path) -> None:
    """A copy of a home in use: of Dagster's databases a journal may go while it is copied."""
    for _ in range(20):
        try:
            shutil.copytree(home, target, symlinks=True)
            return
        except shutil.Error:
            shutil.rmtree(target)
            time.sleep(0.05)
    raise Violation(f"{home} could not be copied in twenty attempts")


def _write_world(folder: Path) -> int:
    import tiny_world

    models = tiny_world.write_models(folder / "models")
    path = tiny_world.write_small(folder, models, ("fineface",), au_estimator={"provider": "foreign"})
    profile = yaml.safe_load(path.read_text())
    profile["chunk"] = 8  # as many chunks as the larger world has
    profile["experiments"]["fineface"]["train"]["log_every"] = 1  # a line a step: moments within the training
    path.write_text(yaml.safe_dump(profile))
    return 0


def _prepare_this_process() -> None:
    """What is cheaper here than in a run of its own; all processes begin as forks of this one."""
    from assets import retries
    from evaluation import figures, report
    from settings import providers

    # figures cost more than all models; no table has anything of them
    figures._png = lambda figure: b""
    report.write = lambda path, data: file_system.write(path, data.subtitle)
    retries.WAIT_SECONDS = 0.2
    providers.PROVIDERS["action_units"]["foreign"] = "faults.foreign:Estimator"


def _load(profile: Path, home: Path) -> None:
    """Load the definitions of `home`, so that no run has to."""
    from pipelines import definitions, jobs, profiles

    build, loaded = definitions.build, definitions.build(profiles.load(str(profile), home), home)
    loaded.resolve_asset_graph()
    for phase in jobs.ALL:
        loaded.resolve_job_def(phase.name)
    definitions.build = lambda wanted, place: loaded if place == home else build(wanted, place)


def _command(verb: str, profile: Path, home: Path, *options: str) -> int:
    """`fineface VERB` in this process, which has trainings to spare."""
    from pipelines.command import app

    warm.keep_spare(2)
    try:
        app([verb, "--profile", str(profile), "--home", str(home), *options], prog_name="fineface")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _mend(profile: Path, home: Path, command: list[str]) -> int:
    from pipelines.command import app

    verb, *options = command
    if verb == "run":
        return _command("run", profile, home, *options)
    app([verb, "--home", str(home)], prog_name="fineface")
    return 0


def _differences(expected: Path, found: Path, repaired: bool) -> dict[str, str]:
    """By table and memo, what of the home `found` is not as in `expected`: the content of tables, the rows
    that data files hold, the keys of memos, and stored files that are named but lost or damaged.

    Decimals may differ by the rounding of a model that was asked in batches of another make-up (TOLERANCE).
    Answers that a repair set aside may be absent: they are asked for again when one is needed. There may be
    more where the disturbed run went on without a picture that had rotted. In which shard a latent lies
    depends on what was asked together.
    """
    from polars.testing import assert_frame_equal

    from store import Store

    wanted, there = Store(expected), Store(found)
    said = {}
    for stage in sorted({*wanted.stages(), *there.stages()}):
        try:
            table = there.read(stage)
            if wanted.content_hash(stage) != there.content_hash(stage):
                frames = wanted.read(stage), table
                both = [one.drop(*PLACES) if stage == "latents" else one for one in frames]
                assert_frame_equal(*both, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
            rows, files = _rows(there.delta(stage)), _lost(there, table)
            assert rows == table.height, f"its data files hold {rows} rows, it has {table.height}"
            assert not files, f"stored files are lost or damaged: {files}"
        except (AssertionError, MissingTable) as error:
            said[stage] = str(error)
    for name in sorted({folder.name for home in (expected, found) for folder in (home / "memo").iterdir()}):
        keys, mine = ({*store.memo(name).read()["key"]} for store in (wanted, there))
        rows = _rows(there.memo(name)._delta)
        if (keys - mine and not repaired) or rows != len(mine):
            said[f"memo {name}"] = f"{len(keys - mine)} keys absent; {rows} rows of {len(mine)} keys"
    return said


def _lost(store, table) -> list[str]:
    """Of the stored files that a table names, those that are lost or damaged."""
    named: dict[str, set[str]] = {}
    if {"file_kind", "file"} <= {*table.columns}:
        for kind, file in table.select("file_kind", "file").drop_nulls().iter_rows():
            if not kind.startswith(RAW):
                named.setdefault(kind, set()).add(file.split("#")[0])
    return [f"{kind}/{file}" for kind, files in named.items() for file in store.files(kind).lost(files)]


def _rows(delta) -> int:
    import polars as pl

    files = delta.files(delta.open())
    return pl.scan_parquet(files).select(pl.len()).collect().item() if files else 0


def _mounted(place: Path) -> bool:
    """A small file system at `place`; whether one may be mounted here."""
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "small", str(place)]
    return subprocess.run(mount, capture_output=True).returncode == 0


def _unmount(place: Path) -> None:
    if place.is_mount():
        subprocess.run(["umount", "-l", str(place)], check=True)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-40:])


def main() -> int:
    """Run the campaign; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m faults.campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=16, help="of all that is drawn")
    parser.add_argument("--injections", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--select", help="only this part of the graph, as of `fineface run`")
    parser.add_argument(
        "--log", type=Path, help="a line of JSON an injection; those in it are not done again"
    )
    given = parser.parse_args()
    if warm.ENVIRONMENT.items() - os.environ.items():
        return subprocess.run(
            [sys.executable, *sys.orig_argv[1:]], env=os.environ | warm.ENVIRONMENT
        ).returncode
    done = {}
    if given.log is not None and given.log.exists():
        done = {line["number"]: line for line in map(json.loads, given.log.read_text().splitlines())}
    warm.import_everything()
    _prepare_this_process()
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="campaign-", dir=memory if os.access(memory, os.W_OK) else None))
    began = time.monotonic()
    try:
        campaign = Campaign(folder, given.seed, given.select)
        campaign.prepare()
        print(f"undisturbed: {len(campaign.before)} stages, {time.monotonic() - began:.0f} s", flush=True)
        for number in range(given.first, given.first + given.injections):
            if number not in done:
                done[number] = _one(campaign, number)
                if given.log is not None:
                    with given.log.open("a") as file:
                        file.write(json.dumps(done[number]) + "\n")
                print(_told(done[number]), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    wanted = [done[n] for n in range(given.first, given.first + given.injections)]
    left_out = [line for line in wanted if "left_out" in line]
    wanted = [line for line in wanted if "left_out" not in line]
    broken = [line for line in wanted if "violation" in line]
    mended = sum("mended" in line for line in wanted)
    print(
        f"{len(wanted)} injections of seed {given.seed}: {len(wanted) - len(broken)} ended with the tables "
        f"of the undisturbed graph, {mended} of these after the command that an error named; {len(broken)} "
        f"did not{f'; {len(left_out)} left out' if left_out else ''}"
    )
    return 1 if broken else 0


def _one(campaign: Campaign, number: int) -> dict:
    injection = injections.draw(campaign.seed, number, [*campaign.before])
    began = time.monotonic()
    line = {"seed": campaign.seed, **vars(injection)}
    if injection.fault == "fill" and not campaign.mounts:
        return line | {"left_out": "no small file system can be mounted here", "seconds": 0.0}
    try:
        line |= campaign.inject(injection)
    except Violation as error:
        line["violation"] = str(error)
    except Exception:
        line["violation"] = traceback.format_exc()
    return line | {"seconds": round(time.monotonic() - began, 1)}


def _told(line: dict) -> str:
    what = f"{line['number']:>4} {line['fault']:<12}{line['stage']:<34}{line['seconds']:>6.1f} s  "
    if "left_out" in line:
        return f"{what}left out: {line['left_out']}"
    if "violation" in line:
        return f"{what}BROKEN {line['violation']}"
    return f"{what}{'; '.join(line['notes'])}{' → ' + line['mended'] if 'mended' in line else ''}"


if __name__ == "__main__":
    sys.exit(main())
