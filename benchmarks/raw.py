"""How fast raw data becomes tables: inventory and frames tables of a made tree, corrections to training set.

Each step runs in a process of its own, whose time (wall and CPU) and peak memory are taken. pandas, for
comparison only, comes with the extra `benchmarks`.

    python benchmarks/raw.py --files 20000            # quick
    python benchmarks/raw.py --json raw.json          # the full size: about 2 GB of disk, some minutes
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated

import polars as pl
import psutil
import typer
from PIL import Image

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from curation import corrections, frames, inventory, probing, recipes, training_set  # noqa: E402
from curation.sources import affectnet, affectnet_lists, disfa  # noqa: E402
from facs import ACTION_UNITS, COLUMNS  # noqa: E402
from store import HashCache, Store, hash_frame  # noqa: E402

SUBJECTS = (*range(1, 14), *range(16, 19), 21, *range(23, 33))
FRAMES, FULL = 4845, 450_000
SIDES = (300, 480, 520, 640)
WEB, FILMS = 450_000, 90_000
SHARES = {"train": 0.98, "validation": 0.02}
MEMORY_EVERY = 0.05


def main(
    files: Annotated[int, typer.Option(help="Pictures in the AffectNet tree; DISFA's frames follow.")] = FULL,
    folder: Annotated[
        Path | None, typer.Option(help="Where the tree is made, or lies from before. Default: temporary.")
    ] = None,
    rows: Annotated[int, typer.Option(help="Rows of the training set in the polars part.")] = WEB + FILMS,
    json_to: Annotated[Path | None, typer.Option("--json", help="Write the figures there too.")] = None,
    only: Annotated[str | None, typer.Option(help="Only this part: tables or recipe.")] = None,
) -> None:
    """Measure, print and write the figures."""
    made = None if folder else tempfile.mkdtemp(prefix="fineface-raw-")
    place = (folder or Path(made)).absolute()
    found: dict[str, dict] = {"machine": {"cores": os.cpu_count(), "files": files, "rows": rows}}
    try:
        if only != "recipe":
            tables = [str(place), str(files)]
            found["generate"] = _measured("generate", tables)
            shutil.rmtree(place / "home", ignore_errors=True)
            for name in ("cold", "warm"):
                found[name] = _measured("tables", tables)
        if only != "tables":
            found["recipe"] = _measured("recipe", [str(rows)])
    finally:
        if made:
            shutil.rmtree(made)
    typer.echo(json.dumps(found, indent=2))
    if json_to:
        json_to.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _measured(name: str, arguments: list[str]) -> dict:
    """A step's own figures, and the seconds, CPU seconds and peak memory (MB) of its processes."""
    before, started = os.getloadavg()[0], time.perf_counter()
    command = [sys.executable, __file__, "step", name, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            tree = [watched, *watched.children(recursive=True)]
            peak = max(peak, sum(each.memory_info().rss for each in tree))
        except psutil.NoSuchProcess:
            pass
        time.sleep(MEMORY_EVERY)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"step {name} failed")
    own = json.loads(process.stdout.read().splitlines()[-1])
    peak = max(peak, own.pop("peak"))
    load = [round(before, 1), round(os.getloadavg()[0], 1)]
    typer.echo(
        f"{name}: {seconds:.1f} s, {own['cpu']:.1f} s of CPU, {peak / 1e6:,.0f} MB, load {load}", err=True
    )
    return {"seconds": round(seconds, 2), "peak_mb": round(peak / 1e6), "load": load, **own}


def _costs(**figures: object) -> dict:
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu": round(used.ru_utime + used.ru_stime, 2), "peak": used.ru_maxrss * 1024, **figures}


# --- the tree


def generate(folder: str, files: str) -> dict:
    """AffectNet's lists and `files` small JPEGs of distinct content; DISFA's label files, and frame folders
    of hard links to some of the pictures. A tree of that size that lies there is left alone."""
    place, count = Path(folder), int(files)
    done = place / f"{count}.done"
    if not done.exists():
        _affectnet(place / "raw" / "affectnet", count)
        _disfa(place / "raw" / "disfa", place / "raw" / "affectnet", count)
        done.touch()
    return _costs()


def _affectnet(folder: Path, count: int) -> None:
    heads = []
    for side in SIDES:
        content = BytesIO()
        Image.new("L", (side, side), side % 256).save(content, "JPEG", quality=20)
        heads.append(content.getvalue())
    pictures = folder / "Manually_Annotated_Images"
    for sub in range(1 + count // 1000):
        (pictures / str(sub)).mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    landmarks = [
        ";".join(f"{draw.uniform(0, 500):.2f};{draw.uniform(0, 500):.2f}" for _ in range(67))
        for _ in range(997)
    ]
    lists = folder / "Manually_Annotated_file_lists"
    lists.mkdir(exist_ok=True)
    with (lists / "training.csv").open("w") as training, (lists / "validation.csv").open("w") as validation:
        training.write(",".join(affectnet_lists.HEADER) + "\n")
        for number in range(count):
            name = f"{number // 1000}/{number:056x}.jpg"
            head, mark = heads[number % len(heads)], f"{number:08d}".encode()
            comment = b"\xff\xfe" + (2 + len(mark)).to_bytes(2, "big") + mark  # makes the content distinct
            with open(f"{pictures}/{name}", "wb", buffering=0) as file:
                file.write(head[:2] + comment + head[2:])
            points = f"{number / 1000:.2f};1.00;{landmarks[number % 997]}"
            line = f"{name},0,0,300,300,{points},{number % 11},0.25,-0.5\n"
            (validation if number % 80 == 79 else training).write(line)


def _disfa(folder: Path, affectnet_folder: Path, count: int) -> None:
    frames_each = max(1, FRAMES * count // FULL)
    pictures = affectnet_folder / "Manually_Annotated_Images"
    number = 0
    for subject in SUBJECTS:
        name = f"SN{subject:03}"
        labels, stills = folder / "ActionUnit_Labels" / name, folder / "Images" / name
        labels.mkdir(parents=True, exist_ok=True)
        stills.mkdir(parents=True, exist_ok=True)
        for au in ACTION_UNITS:
            text = "".join(f"{f},{(f * au // 97) % 6 if f % 3 else 0}\n" for f in range(1, FRAMES + 1))
            (labels / f"{name}_au{au}.txt").write_text(text)
        for frame in range(frames_each):
            os.link(f"{pictures}/{number // 1000}/{number:056x}.jpg", stills / f"{frame:05}.jpg")
            number = (number + 1) % count


# --- inventory and frames tables


def tables(folder: str, files: str) -> dict:
    """Inventory, then both frames tables, written; all through the home beside the tree."""
    raw, store, figures = Path(folder) / "raw", Store(Path(folder) / "home"), {}

    def timed(name: str, work) -> object:
        started, cpu = time.perf_counter(), time.process_time()
        result = work()
        figures[name] = [round(time.perf_counter() - started, 2), round(time.process_time() - cpu, 2)]
        return result

    readable, memo = HashCache(store).hash_readable_files, store.memo("probes", probing.SCHEMA)
    found = timed("inventory", lambda: inventory.inspect(raw, inventory.Rules(), readable, memo))
    lines = timed("raw_affectnet", lambda: affectnet.read(raw / "affectnet", readable, memo))
    assert lines.height == int(files) and lines["keep"].all() and found.sources[0].usable == lines.height
    timed("write raw_affectnet", partial(store.write, "raw_affectnet", lines))
    del lines
    stills = timed(
        "raw_disfa",
        lambda: disfa.read(raw / "disfa", store.files("frames"), readable, store.home / "videos", memo=memo),
    )
    timed("write raw_disfa", partial(store.write, "raw_disfa", stills))
    assert stills.height == len(SUBJECTS) * FRAMES
    return _costs(parts=figures, rows=found.sources[0].rows + found.sources[1].rows)


# --- corrections to training set, in polars and in pandas


def recipe(rows: str) -> dict:
    """Both ways on the same made tables, the best of three; the results must agree."""
    web, films, captions = _made(int(rows))
    best = {}
    for name, way in (("polars", _polars), ("pandas", _pandas)):
        given = (
            (web, films, captions)
            if name == "polars"
            else tuple(t.to_pandas() for t in (web, films, captions))
        )
        seconds = []
        for _ in range(3):
            started, cpu = time.perf_counter(), time.process_time()
            result = way(*given)
            seconds.append((time.perf_counter() - started, time.process_time() - cpu))
        best[name] = (*map(min, zip(*seconds, strict=True)), result)
    ours, theirs = best["polars"][2], best["pandas"][2]
    _agree(ours, theirs)
    figures = {name: {"seconds": round(b[0], 2), "cpu": round(b[1], 2)} for name, b in best.items()}
    ratio = round(best["pandas"][0] / best["polars"][0], 2)
    return _costs(**figures, pandas_over_polars=ratio, training_set=ours.height)


def _made(rows: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """au_annotation of 5/6 of the rows, DISFA's frames of the others, a caption for each."""
    import numpy as np

    draw, films = np.random.default_rng(0), rows // 6
    web = rows - films
    values = (draw.random((web, 12)) ** 4 * 6).clip(0, 5) * (draw.random((web, 1)) < 0.95)
    number = pl.Series(range(web))
    annotated = pl.DataFrame({column: values[:, i] for i, column in enumerate(COLUMNS)}).with_columns(
        sample_id=pl.format("affectnet/{}/{}.jpg", number // 1000, number),
        source=pl.lit("affectnet"),
        file_kind=pl.lit("raw_affectnet"),
        file=pl.format("Manually_Annotated_Images/{}/{}.jpg", number // 1000, number),
        content_hash=pl.Series([hashlib.md5(b"%d" % (i - i % 50 // 49)).hexdigest() for i in range(web)]),
        faces=pl.lit(1),
        keep=pl.lit(True),
        reason_code=pl.lit(None, dtype=pl.String),
        reason_detail=pl.lit(None, dtype=pl.String),
    )
    frame = pl.Series(range(films))
    filmed = pl.DataFrame(
        {label: draw.integers(0, 6, films).astype(float) for label in frames.LABELS}
    ).with_columns(
        sample_id=pl.format("disfa/SN{}/{}", frame % 27, frame),
        source=pl.lit("disfa"),
        file_kind=pl.lit("raw_disfa"),
        file=pl.format("SN{}/{}.png", frame % 27, frame),
        content_hash=pl.Series([hashlib.md5(b"f%d" % i).hexdigest() for i in range(films)]),
        subject=pl.format("SN{}", frame % 27),
        keep=pl.lit(True),
        reason_code=pl.lit(None, dtype=pl.String),
        reason_detail=pl.lit(None, dtype=pl.String),
    )
    ids = pl.concat([annotated["sample_id"], filmed["sample_id"]])
    captions = pl.DataFrame(
        {"sample_id": ids, "caption": pl.select(pl.format("a person, {}", ids)).to_series()}
    )
    return annotated, filmed, captions.sample(fraction=1, shuffle=True, seed=0)


def _polars(web: pl.DataFrame, films: pl.DataFrame, captions: pl.DataFrame) -> pl.DataFrame:
    corrected = corrections.fit(web, "paper").apply(web).filter("keep")
    return training_set.assemble(corrected, films, captions, shares=SHARES, seed=0)


def _pandas(web, films, captions):
    """The same, as one would write it in a notebook. Samples that set the scale are found too."""
    import numpy as np
    import pandas as pd

    columns, table = list(COLUMNS), web.copy()
    table[columns] = table[columns].clip(0, 5)
    table = table[table[columns].sum(axis=1) >= recipes.PAPER.weak_at].copy()
    for column in columns:
        table[f"{column}_raw"] = table[column]
    extremes = {}
    for power in recipes.PAPER.powers:
        column = f"au{power.au}"
        bent = table[column] ** power.gamma
        low, high = bent.min(), bent.max()
        extremes[column] = table.loc[bent.idxmin(), "sample_id"], table.loc[bent.idxmax(), "sample_id"]
        table[f"{column}_power"] = bent
        table[column] = table[f"{column}_scaled"] = ((bent - low) / (high - low) * power.target).clip(0, 5)
    table[columns] = table[columns].where(table[columns] >= recipes.PAPER.zero_below, 0.0)
    films = films.rename(columns=dict(zip(frames.LABELS, COLUMNS, strict=True)))
    both = pd.concat([table.assign(subject=None), films])
    both = both.merge(captions, on="sample_id", how="left").sort_values("sample_id")
    both = both[both["caption"].fillna("").str.strip() != ""]
    both = both[~both["content_hash"].duplicated()]
    group = (both["source"] + "/" + both["subject"]).fillna(both["content_hash"])

    def uniform(name: str) -> float:
        digest = hashlib.blake2b(f"split 0/{name}".encode(), digest_size=8).digest()
        return (int.from_bytes(digest) >> 11) / 2**53

    both["split"] = np.where(group.map(uniform) < SHARES["train"], "train", "validation")
    named = ["sample_id", "source", "file_kind", "file", "content_hash", "subject"]
    return both[[*named, *columns, "caption", "split"]]


def _agree(ours: pl.DataFrame, theirs) -> None:
    import numpy as np

    ours = ours.filter("keep").sort("sample_id")
    theirs = pl.from_pandas(theirs).sort("sample_id")
    texts = ["sample_id", "content_hash", "caption", "split"]
    assert hash_frame(ours.select(texts)) == hash_frame(theirs.select(texts))
    assert np.allclose(ours.select(COLUMNS).to_numpy(), theirs.select(COLUMNS).to_numpy(), atol=1e-9)


STEPS = {"generate": generate, "tables": tables, "recipe": recipe}

if __name__ == "__main__":
    if sys.argv[1:2] == ["step"]:
        print(json.dumps(STEPS[sys.argv[2]](*sys.argv[3:])))
    else:
        typer.run(main)
