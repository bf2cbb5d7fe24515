"""What the engine of Ray costs beside the local one: seconds until the first answer, and answers a second.

The model is the cheapest there is (perceptual hashes): next to nothing but the engine is measured.

    python benchmarks/engines.py [--pictures 4000] [--actors 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from inference import asking, questions, ray_engine
from inference.asking import Engine
from settings.profile import RayEngine
from store import Store
from store.hashing import hash_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        requests = pictures(Path(folder), given.pictures)
        ray = ray_engine.engine(RayEngine(kind="ray", actors=given.actors), print)
        found = {
            "local": measured(Path(folder) / "local", requests, asking.local),
            "ray, started first": measured(Path(folder) / "first", requests, ray),
            "ray, running": measured(Path(folder) / "second", requests, ray),
            "ray, nothing to ask": measured(Path(folder) / "second", requests, ray),
        }
    found["load"] = {"average of the last minute": round(os.getloadavg()[0], 1), "cores": os.cpu_count() or 0}
    for name, figures in found.items():
        print(f"{name:<22}", ", ".join(f"{what} {figure}" for what, figure in figures.items()))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


def pictures(folder: Path, count: int) -> pl.DataFrame:
    """That many pictures of 128 px that differ."""
    noise = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        small = Image.fromarray(noise.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        small.resize((128, 128)).save(path)
    return pl.DataFrame({"path": [str(path) for path in paths], "content_hash": [*map(hash_file, paths)]})


def measured(home: Path, requests: pl.DataFrame, engine: Engine) -> dict[str, float]:
    """Seconds until the first answer and in all, and answers a second between the first and the last."""
    began, first = time.monotonic(), []

    def watched(model, missing, together):
        for row in engine(model, missing, together):
            first[:] = first or [time.monotonic() - began]
            yield row

    asking.ask(Store(home), questions.looks(), requests, chunk=256, engine=watched)
    seconds = time.monotonic() - began
    if not first:
        return {"seconds": round(seconds, 2)}
    rate = requests.height / max(1e-9, seconds - first[0])
    return {"first": round(first[0], 1), "seconds": round(seconds, 1), "a second": round(rate)}


if __name__ == "__main__":
    main()
