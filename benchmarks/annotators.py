"""How fast every annotator reads pictures, over its own plain loop, and what bounds it.

The plain loop decodes a picture and asks the model about it, one after the other. Ours decodes and prepares
in threads ahead of a model that reads batches. Both run in the same process, in turns, on the same files; the
ratio of their medians is what to look at, since rates depend on what else the machine does (`load`).

    python benchmarks/annotators.py                                   # the miniature's models, all providers
    python benchmarks/annotators.py blip2 captions --model Salesforce/blip2-opt-2.7b --precision bfloat16
    python benchmarks/annotators.py decoding --folder ~/photos --images 500 --json decoding.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from inference import abilities, images

PROJECT = Path(__file__).parents[1]
MODELS = PROJECT / "miniature" / "models"
QUESTIONS = ("Is this a cartoon?", "Is this photo real?")

Measured = dict[str, Any]


def ability(name: str, provider: str, folder: str | None, method: Callable[[Any, list], Sequence[Any]]):
    """A benchmark of an in-process provider; `folder` is its model in the miniature."""

    def measure(options: argparse.Namespace, paths: list[str]) -> Measured:
        given = {
            "model": options.model or (str(MODELS / folder) if folder else None),
            "precision": options.precision,
            "batch_size": options.batch_size,
        }
        settings = {key: value for key, value in given.items() if value is not None}
        model = abilities.build(name, {"provider": provider, **settings})
        return compare(model, lambda batch: method(model, batch), paths, options.rounds)

    return measure


def compare(
    model: abilities.Annotator,
    ask: Callable[[list], Sequence[Any]],
    paths: list[str],
    rounds: int,
    ask_plainly: Callable[[Any], Any] | None = None,
) -> Measured:
    """Rates (pictures a second) of the plain loop, of ours, and of ours' two halves each on its own."""

    def plain() -> None:
        for path in paths:
            picture = images.load(path)
            ask_plainly(picture) if ask_plainly else ask([picture])

    def ours() -> None:
        for _ in images.read_ahead(paths, ask, model.batch_size, model.prepare):
            pass

    def decoding() -> None:
        for _ in images.read_ahead(paths, lambda batch: batch, model.batch_size, model.prepare):
            pass

    prepared = [model.prepare(images.load(path)) for path in paths]

    def reading() -> None:
        for start in range(0, len(prepared), model.batch_size):
            ask(prepared[start : start + model.batch_size])

    ask(prepared[: model.batch_size])  # loads the model, and warms up
    ask(prepared[:1])
    found = in_turns({"plain": plain, "ours": ours, "decode": decoding, "model": reading}, len(paths), rounds)
    return {
        "model": model.name,
        "batch_size": model.batch_size,
        **found,
        "ratio": found["ours_rate"] / found["plain_rate"],
        "bound_by": "decoding" if found["decode_rate"] < found["model_rate"] else "model",
    }


def in_turns(ways: dict[str, Callable[[], Any]], count: int, rounds: int) -> dict[str, float]:
    """Of each way the median pictures a second (`_rate`) and this process's time a picture in milliseconds
    (`_cpu_ms`), which a busy machine changes less. They take turns, so that it is busy for all.
    """
    wall: dict[str, list[float]] = {name: [] for name in ways}
    work: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began, worked = time.perf_counter(), time.process_time()
            way()
            wall[name].append(time.perf_counter() - began)
            work[name].append(time.process_time() - worked)
    rates = {f"{name}_rate": count / statistics.median(taken) for name, taken in wall.items()}
    return rates | {f"{name}_cpu_ms": 1e3 * statistics.median(taken) / count for name, taken in work.items()}


def decoding(options: argparse.Namespace, paths: list[str]) -> Measured:
    """Decoding and BLIP-2's preparing: in this thread, in threads, in processes (which send pixels back)."""
    workers = images.WORKERS
    _prepared_pixels(paths[0])
    spawning = get_context("spawn")
    with ThreadPoolExecutor(workers) as threads, ProcessPoolExecutor(workers, spawning) as processes:
        list(processes.map(_prepared_pixels, paths[: 4 * workers]))  # imports
        found = in_turns(
            {
                "plain": lambda: [_prepared_pixels(path) for path in paths],
                "threads": lambda: list(threads.map(_prepared_pixels, paths)),
                "processes": lambda: list(processes.map(_prepared_pixels, paths, chunksize=8)),
            },
            len(paths),
            options.rounds,
        )
    return {
        "workers": workers,
        **found,
        "ratio": found["threads_rate"] / found["plain_rate"],
        "processes_over_threads": found["processes_rate"] / found["threads_rate"],
    }


_BLIP2: list[Any] = []


def _prepared_pixels(path: str):
    if not _BLIP2:
        _BLIP2.append(abilities.build("answers", {"provider": "blip2", "model": str(MODELS / "blip2")}))
    return _BLIP2[0].prepare(images.load(path)).numpy()


def lavis(options: argparse.Namespace, paths: list[str]) -> Measured:
    """LAVIS, both questions, against its own methods; by default a tiny random FlanT5."""
    request = {
        "model": options.model or "blip2_t5/tiny",
        "precision": options.precision or "float32",
        "batch_size": options.batch_size or 16,
        "questions": {text: f"Question: {text} Answer:" for text in QUESTIONS},
    }
    return elsewhere("lavis", request, lambda folder: [folder, "blip2_t5"], options, paths)


def libreface(options: argparse.Namespace, paths: list[str]) -> Measured:
    """LibreFace against its own functions; by default random weights of the genuine size."""
    request = {"batch_size": options.batch_size or 64}
    return elsewhere("libreface", request, lambda folder: ["weights", folder], options, paths)


def elsewhere(
    name: str,
    request: Measured,
    making: Callable[[Path], list],
    options: argparse.Namespace,
    paths: list[str],
) -> Measured:
    """What `in_<name>.py` measures in the environment `name`; without `--weights`, on those that
    `tests/tiny_<name>.py` makes when called with `making` of a folder."""
    from inference import environments

    try:
        python = environments.python(name)
    except environments.EnvironmentUnavailable as absent:
        raise abilities.EstimatorUnavailable(str(absent)) from absent
    with tempfile.TemporaryDirectory() as scratch:
        weights = options.weights or Path(scratch, "tiny")
        if options.weights is None:
            script = PROJECT / "tests" / f"tiny_{name}.py"
            subprocess.run([python, "-I", script, *making(weights)], check=True, capture_output=True)
        given = {"weights": str(weights.absolute()), "rounds": options.rounds, "paths": paths}
        done = subprocess.run(
            [python, "-I", PROJECT / "benchmarks" / f"in_{name}.py"],
            input=json.dumps(request | given),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout)


# A provider in an environment of its own joins by a function of its own.
PROVIDERS: dict[str, Callable[[argparse.Namespace, list[str]], Measured]] = {
    "decoding": decoding,
    "blip2": ability("answers", "blip2", "blip2", lambda model, batch: model.ask_all(batch, QUESTIONS)),
    "captions": ability("captions", "blip2", "blip2", lambda model, batch: model.caption(batch)),
    "clip": ability("embeddings", "clip", "clip", lambda model, batch: model.embed_images(batch)),
    "conv": ability(
        "action_units",
        "miniature.estimator:TinyEstimator",
        "estimator",
        lambda model, batch: model.estimate(batch),
    ),
    "lavis": lavis,
    "libreface": libreface,
    "mediapipe": ability("action_units", "mediapipe", None, lambda model, batch: model.estimate(batch)),
}


def faces(folder: Path, count: int, side: int) -> list[str]:
    """`count` JPEGs of `side` px of the miniature's faces, in `folder`."""
    from PIL import Image

    from miniature.raw import write_affectnet

    write_affectnet(folder / "raw", images=count + count // 2 + 10)
    found = sorted(path for path in (folder / "raw").rglob("*") if path.suffix.lower() == ".jpg")
    paths = []
    for path in found:
        try:
            picture = images.load(path, side)
        except images.ImageError:
            continue
        grain = Image.effect_noise((side, side), 12).convert("RGB")  # photographs are not smooth
        paths.append(str(folder / f"{len(paths):05}.jpg"))
        Image.blend(picture, grain, 0.15).save(paths[-1], quality=92)
    return paths[:count]


def pictures_of(options: argparse.Namespace, scratch: Path) -> list[str]:
    """The files to read: those of `--folder`, or rendered faces."""
    if options.folder is None:
        return faces(scratch, options.images, options.side)
    suffixes = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif"}
    found = sorted(str(path) for path in options.folder.rglob("*") if path.suffix.lower() in suffixes)
    if not found:
        sys.exit(f"{options.folder} holds no pictures")
    return found[: options.images]


def device() -> str:
    """What "auto" means here."""
    import torch

    from inference import devices

    picked = devices.pick()
    return (
        torch.cuda.get_device_name(picked) if picked.type == "cuda" else f"{picked}, {os.cpu_count()} cores"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "providers", nargs="*", metavar="provider", help=f"of {', '.join(PROVIDERS)}; default: all"
    )
    parser.add_argument("--images", type=int, default=64, help="how many pictures (default 64)")
    parser.add_argument(
        "--side", type=int, default=512, help="side of the rendered JPEGs in px (default 512)"
    )
    parser.add_argument("--folder", type=Path, help="a folder of one's own pictures instead of rendered ones")
    parser.add_argument("--rounds", type=int, default=3, help="turns, of which the median counts (default 3)")
    parser.add_argument("--model", help="hub id or folder; default: the miniature's")
    parser.add_argument(
        "--weights", type=Path, help="folder of LAVIS' or LibreFace's files; default: random ones"
    )
    parser.add_argument("--precision", help="float32, bfloat16 or float16; default: the provider's")
    parser.add_argument("--batch-size", type=int, help="default: the provider's")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    os.environ |= {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    if unknown := set(options.providers) - set(PROVIDERS):
        parser.error(f"no provider {', '.join(sorted(unknown))}; there are {', '.join(PROVIDERS)}")
    found: dict[str, Any] = {"device": device(), "load": [os.getloadavg()[0]]}
    with tempfile.TemporaryDirectory() as scratch:
        paths = pictures_of(options, Path(scratch))
        found |= {"images": len(paths), "providers": {}}
        for name in options.providers or PROVIDERS:
            try:
                found["providers"][name] = PROVIDERS[name](options, paths)
            except abilities.EstimatorUnavailable as error:
                found["providers"][name] = {"unavailable": str(error)}
            print(name, line(found["providers"][name]), flush=True)
    found["load"].append(os.getloadavg()[0])
    before, after = found["load"]
    print(f"{found['images']} pictures on {found['device']}; load {before:.1f} to {after:.1f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def line(measured: Measured) -> str:
    """`measured` in one line."""
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in measured.items()
    )


if __name__ == "__main__":
    main()
