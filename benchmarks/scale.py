"""What the data half costs beside its models, at 1, 10 and 100 times the miniature, and what of that a change
of 1 % costs: real memos, tables, filters, corrections and splits, under models that answer at once.

No picture is read and no Dagster runs: `benchmarks/raw.py` measures the first, and the second is a constant.

    python benchmarks/scale.py                       # 2,000 to 200,000 photographs, some minutes
    python benchmarks/scale.py --times 1000 --json scale.json
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import facs  # noqa: E402
import reasons  # noqa: E402
from curation import corrections, photorealism, training_set  # noqa: E402
from inference import asking, questions  # noqa: E402
from store import Store  # noqa: E402
from store.hashing import fingerprints  # noqa: E402

MINIATURE = 2000
CHUNK = 2048
"""The chunk of the profile `paper`."""
CHANGE = 0.01
HASH_BITS, WITHIN = 256, 16
PASSES = ("first", "again", "1 % more", "1 % other")
KIND = "raw_affectnet"


class Instant:
    """A model that answers at once, with what the content's hash and a function of uniform numbers say."""

    def __init__(self, name: str, answer: Callable[[np.ndarray], dict[str, Any]]) -> None:
        self.name, self.fingerprint, self._answer = name, f"instant {name}", answer

    def read(self, requests: pl.DataFrame) -> Iterator[dict[str, Any]]:
        """A row a request."""
        for part in requests.select("key", "content_hash").iter_slices(1 << 14):
            drawn = np.array([int(text[:8], 16) for text in part["content_hash"]]) / 2**32
            told = pl.DataFrame(self._answer(drawn))
            yield from part.select("key").hstack(told).iter_rows(named=True)


def _judged(drawn: np.ndarray) -> dict[str, Any]:
    return {
        "cartoon_answer": ["no"] * len(drawn),
        "real_answer": ["yes"] * len(drawn),
        "cartoon_score": drawn / 2,
        "real_score": 1 - drawn / 2,
    }


def _read(drawn: np.ndarray) -> dict[str, Any]:
    spread = {column: (drawn * (17 + number)) % 1 * 5 for number, column in enumerate(facs.COLUMNS)}
    return {**spread, "faces": np.ones(len(drawn), np.int64), "face_box": [[0.2, 0.2, 0.8, 0.8]] * len(drawn)}


def _captioned(drawn: np.ndarray) -> dict[str, Any]:
    return {"caption": [f"a person who stands before wall number {number:.6f}" for number in drawn]}


def _looks(drawn: np.ndarray) -> dict[str, Any]:
    seeds = (drawn * 2**32).astype(np.uint64)
    words = [
        seeds * np.uint64(2654435761 + 2 * n) ^ (seeds << np.uint64(n + 7)) for n in range(HASH_BITS // 64)
    ]
    mixed = np.stack([word * np.uint64(0x9E3779B97F4A7C15) for word in words], axis=1)
    return {"perceptual_hash": [row.tobytes().hex() for row in mixed]}


ANSWERS = questions.answer_columns(photorealism.QUESTIONS)


def data_half(home: Path, rows: int, first: int = 0) -> dict[str, dict[str, float]]:
    """From raw rows to the training set; seconds (wall, CPU) by part. Pictures are numbered from `first`."""
    store = Store(home, {KIND: home / "nowhere"})
    parts: dict[str, dict[str, float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        made = work()
        before = parts.get(name, {"wall": 0.0, "cpu": 0.0})
        parts[name] = {
            "wall": before["wall"] + time.perf_counter() - wall,
            "cpu": before["cpu"] + time.process_time() - cpu,
        }
        return made

    def ask(name: str, answer: Any, columns: Any, about: pl.DataFrame) -> pl.DataFrame:
        question = asking.Question(f"instant_{name}", Instant(name, answer), columns)
        return timed("ask", lambda: asking.ask(store, question, about, chunk=CHUNK)).frame

    def write(name: str, table: pl.DataFrame) -> pl.DataFrame:
        timed("write", lambda: store.write(name, table))
        return timed("read", lambda: store.read(name))

    raw = write("raw_affectnet", _raw(rows, first))
    told = ["sample_id", "source", "file_kind", "file", "content_hash", "keep", *reasons.COLUMNS]
    answered = ask("answers", _judged, ANSWERS, raw.select(told))
    judged = write("photorealism", timed("rules", lambda: photorealism.judge(answered)))
    plain = told[:5]
    readings = ask("readings", _read, questions.READING, judged.filter("keep").select(plain))
    read = write("au_annotation", readings.with_columns(keep=pl.lit(True)))
    captioned = ask("captions", _captioned, questions.CAPTION, read.select(plain))
    captions = write("captions", captioned.with_columns(keep=pl.lit(True)))
    fitted = timed("rules", lambda: corrections.fit(read, "paper"))
    corrected = write("au_corrections", timed("rules", lambda: fitted.apply(read)))
    looks = ask("looks", _looks, questions.LOOK, captions.select(plain[2:]))
    members = timed(
        "rules",
        lambda: training_set.assemble(corrected, None, captions, hashes=looks, within=WITHIN),
    )
    write("training_set", members)
    sample = members["sample_id"][rows // 2]
    timed("find one row", lambda: store.read_where("training_set", pl.col("sample_id") == sample))
    return parts


def _raw(rows: int, first: int) -> pl.DataFrame:
    number = pl.Series("number", range(first, first + rows))
    content = fingerprints(number.to_frame(), what="picture")
    return pl.DataFrame({"number": number, "content_hash": content}).select(
        pl.format("affectnet/{}/{}.jpg", pl.col("number") // 1000, "number").alias("sample_id"),
        pl.lit("affectnet").alias("source"),
        pl.lit(KIND).alias("file_kind"),
        pl.format("{}/{}.jpg", pl.col("number") // 1000, "number").alias("file"),
        "content_hash",
        pl.lit(True).alias("keep"),
        *(pl.lit(None, dtype=pl.String).alias(name) for name in reasons.COLUMNS),
    )


def step(home: str, rows: str, first: str) -> None:
    """One pass, in this process; its figures as JSON on the last line."""
    place = Path(home)
    before, started = _bytes(place), time.perf_counter()
    parts = data_half(place, int(rows), int(first))
    seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    told = {"wall": seconds, "cpu": sum(part["cpu"] for part in parts.values()), "parts": parts}
    print(json.dumps(told | {"peak_mb": used.ru_maxrss / 1024, "written": _bytes(place) - before}))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(
    times: Annotated[list[int] | None, typer.Option(help="How many times the miniature; several.")] = None,
    json_to: Annotated[Path | None, typer.Option("--json", help="Write the figures there too.")] = None,
) -> None:
    """Measure each size in processes of their own: first, again, with 1 % new rows, with 1 % other rows."""
    found = []
    for size in times or (1, 10, 100):
        rows = MINIATURE * size
        more = max(1, int(rows * CHANGE))
        home = Path(tempfile.mkdtemp(prefix="fineface-scale-"))
        try:
            asked = ((rows, 0), (rows, 0), (rows + more, 0), (rows + more, more))
            for name, (count, first) in zip(PASSES, asked, strict=True):
                command = [sys.executable, __file__, "step", str(home), str(count), str(first)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                found.append({"pass": name, "rows": count, **json.loads(done.stdout.splitlines()[-1])})
                typer.echo(_line(found[-1]))
        finally:
            shutil.rmtree(home)
    if json_to:
        told = {"cores": os.cpu_count(), "load": os.getloadavg(), "passes": found}
        json_to.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _line(one: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {part['cpu']:.2f}" for name, part in one["parts"].items())
    return (
        f"{one['rows']:>10,} rows {one['pass']:<10} {one['cpu']:7.1f} s of CPU ({one['wall']:.1f} s), "
        f"{one['peak_mb']:,.0f} MB, {one['written'] / 1e6:,.1f} MB more on disk; {parts}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["step"]:
        step(*sys.argv[2:])
    else:
        typer.run(main)
