"""AffectNet-7/8 and AffectNet+: 224-pixel crops with their labels beside them, as frames."""

import json
import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl
from numpy.lib import format as npy

from curation import frames, probing
from curation.frames import HashFiles, Memo, RawDataError
from curation.sources import affectnet_lists, listing
from reasons import Reason

SIDE = 224
"""Width and height of every crop, in pixels."""

NUMBERS = ("expression", "valence", "arousal")
_ARRAYS = {"exp": "expression", "val": "valence", "aro": "arousal", "lnd": "landmarks"}
_ENDINGS = tuple(f"_{name}.npy" for name in _ARRAYS)
# AffectNet+'s documentation and its users spell the keys in several ways: only letters are compared.
_KEYS = {
    "expression": ("humanlabel", "expression", "label"),
    "valence": ("valence",),
    "arousal": ("arousal",),
    "landmarks": ("landmarks", "landmark", "faciallandmarks"),
}
Labels = dict[str, object]


def recognised(folder: Path) -> str | None:
    """ "AffectNet-7/8" or "AffectNet+", where the layout is theirs, at most four folders down; else None."""
    for place, folders, names in os.walk(folder):
        if release := _release(Path(place), folders, sorted(names)):
            return release
        folders[:] = sorted(folders) if len(Path(place).relative_to(folder).parts) < 4 else []
    return None


def read(folder: Path, release: str, hash_files: HashFiles, memo: Memo | None, min_side: int) -> pl.DataFrame:
    """One frame a crop (columns: `curation.frames.SCHEMA`); `subject` is unknown, there is no face box.

    Labels lie in `annotations/0_{exp,val,aro,lnd}.npy` or `0.json` beside `images/0.jpg`, or beside `0.jpg`.
    Quarantined: a crop without or with unreadable labels, labels without a crop. Arrays of pickled objects
    are not read. Raises RawDataError, before anything is read, if `min_side` is above 224.
    """
    if min_side > SIDE:
        raise RawDataError(
            f"{folder} is {release}: its pictures are {SIDE}x{SIDE} crops, so none can reach the minimum "
            f"side of {min_side} px and the data set would be empty; use the 2017 release "
            f"(Manually_Annotated.part01.rar … with training.csv), or a resolution.min_side of at most {SIDE}"
        )
    crops, labels = _paired(folder, release)
    rows = crops.join(labels, on="place", how="full", coalesce=True).with_columns(
        pl.lit("affectnet").alias("source"),
        *frames.KEPT,
        pl.coalesce("crop", "odd", "label").alias("origin"),
        pl.concat_str(pl.lit(f"{folder}/"), "crop").alias("path"),
    )
    for where, code, detail in (
        (pl.col("odd").is_not_null(), Reason.UNREADABLE_NAME, pl.format("{} is not valid text", "odd")),
        (pl.col("crop").is_null(), Reason.MISSING_FILE, pl.format("no picture for {}", "label")),
        (pl.col("label").is_null(), Reason.NO_LABEL, pl.format("for {}", "crop")),
        (pl.col("fault").is_not_null(), pl.col("fault"), pl.col("complaint")),
    ):
        rows = frames.quarantine(rows, where, code, detail)
    rows = rows.with_columns(pl.format("affectnet/{}", "origin").alias("sample_id"))
    rows = affectnet_lists.as_labels(rows, NUMBERS)
    return frames.finished([probing.with_pictures(rows, hash_files, memo)])


def _paired(folder: Path, release: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Crops (`place`, `crop`, or `odd`, a name that is no text) and labels (`place`, `label`, the cells of
    NUMBERS and `landmarks`, `fault` and `complaint`, a reason's code and detail). A place is the path
    without "images/", "annotations/" and what follows the name.
    """
    crops: list[tuple[str, str | None, str | None]] = []
    sidecars: dict[str, list[str]] = {}
    for name in listing.files(folder):
        if PurePosixPath(name).suffix.lower() in probing.SUFFIXES:
            if listing.sound(name):
                crops.append((_place(name.rpartition(".")[0]), name, None))
            else:
                crops.append((f"no text: {listing.shown(name)}", None, listing.shown(name)))
        elif not listing.sound(name):
            continue  # its crop has no label, and says so
        elif name.endswith(_ENDINGS) if release == "AffectNet-7/8" else name.endswith(".json"):
            stem = name.removesuffix(".json") if name.endswith(".json") else name.rpartition("_")[0]
            sidecars.setdefault(_place(stem), []).append(name)
    if not crops:
        raise RawDataError(f"no pictures in {folder}")
    read_one: Callable[[Path, list[str]], Labels] = _arrays if release == "AffectNet-7/8" else _document
    rows = [
        {"place": place, "label": names[0], **read_one(folder, names)} for place, names in sidecars.items()
    ]
    schema = dict.fromkeys(("place", "label", *NUMBERS, "landmarks", "fault", "complaint"), pl.String)
    return (
        pl.DataFrame(crops, schema=dict.fromkeys(("place", "crop", "odd"), pl.String), orient="row"),
        pl.DataFrame(rows, schema=schema),
    )


def _place(stem: str) -> str:
    folder, _, name = stem.rpartition("/")
    above, _, last = folder.rpartition("/")
    return f"{above if last in ('images', 'annotations') else folder}/{name}"


def _arrays(folder: Path, names: list[str]) -> Labels:
    """The labels of one crop from its up to four arrays."""
    labels: Labels = {}
    for name in names:
        column = _ARRAYS[name.rpartition("_")[2].removesuffix(".npy")]
        try:
            values = _array(f"{folder}/{name}")
        except Exception as error:  # whatever a broken header makes numpy raise
            return labels | _unreadable(f"{name}: {error}")
        labels[column] = _cell(values.ravel().tolist())
    return labels | _absent(labels, names[0])


def _array(path: str) -> np.ndarray:
    """`np.load(path, allow_pickle=False)` of a small array; the header, alike in most files, is parsed once.

    Raises ValueError for anything else than an array of plain values.
    """
    with open(path, "rb", buffering=0) as file:
        content = file.read()
    stream = BytesIO(content)
    if npy.read_magic(stream) != (1, 0):
        return np.load(BytesIO(content), allow_pickle=False)
    start = 10 + int.from_bytes(content[8:10], "little")
    shape, order, kind = _header(content[8:start])
    if kind.hasobject:
        raise ValueError("pickled objects are not read")
    return np.frombuffer(content, kind, int(np.prod(shape)), start).reshape(
        shape, order="F" if order else "C"
    )


@lru_cache(maxsize=256)
def _header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    return npy.read_array_header_1_0(BytesIO(header))


def _document(folder: Path, names: list[str]) -> Labels:
    """The labels of one crop from its JSON document; keys may lie one level down ("Metadata")."""
    (name, *_) = names
    try:
        document = json.loads((folder / name).read_bytes())
        parts = [*(part for part in document.values() if isinstance(part, dict)), document]
        entries = {
            "".join(filter(str.isalpha, key.lower())): value for part in parts for key, value in part.items()
        }
        labels: Labels = {
            column: _cell(list(_flat(entries[key])))
            for column, keys in _KEYS.items()
            for key in reversed(keys)
            if key in entries
        }
    except AttributeError:
        return _unreadable(f"{name} holds no mapping")
    except (OSError, ValueError, RecursionError) as error:
        return _unreadable(f"{name}: {error}")
    return labels | _absent(labels, name)


def _absent(labels: Labels, name: str) -> Labels:
    absent = [column for column in NUMBERS if column not in labels]
    if not absent:
        return {}
    return {
        "fault": Reason.NO_LABEL.value,
        "complaint": f"{name} and its neighbours lack {', '.join(absent)}",
    }


def _unreadable(complaint: str) -> Labels:
    return {"fault": Reason.UNREADABLE_LABEL.value, "complaint": complaint}


def _cell(values: list) -> str:
    """One value, or landmarks as the 2017 lists write them ("x;y;x;y…")."""
    return ";".join(map(str, values))


def _flat(value: object) -> Iterable[object]:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _release(place: Path, folders: list[str], names: list[str]) -> str | None:
    if any(name.endswith(_ENDINGS) for name in names):
        return "AffectNet-7/8"
    stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    if any(_has_picture(beside, stem) for stem in stems[:20] for beside in (place, place.parent / "images")):
        return "AffectNet+"
    if place.name in ("train_set", "val_set") and "images" in folders and "annotations" not in folders:
        return "AffectNet-7/8"
    return None


def _has_picture(folder: Path, stem: str) -> bool:
    return any((folder / f"{stem}{suffix}").is_file() for suffix in (".jpg", ".png", ".jpeg"))
