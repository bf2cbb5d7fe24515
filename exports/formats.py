"""The files of an export: Parquet, WebDataset, or pictures beside a CSV. One shard, or picture, is written
whole.

What the samples are lives in `samples`; what is said about them, in `croissant` and `cards`.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import facs
from exports import pictures
from exports.samples import COLUMNS, IMAGE, Samples
from store import file_system

SHARD = 1000
"""Samples in one file; at 512 px about half a gigabyte of PNG."""
ROW_GROUP = 100
"""Samples that a reader of Parquet has to fetch together."""
Progress = Callable[[int], None]
"""Called with the number of samples that are written."""


class Shard(NamedTuple):
    """Samples that lie in one file, which is called `name` in the export's folder."""

    name: str
    split: str
    frame: pl.DataFrame


def shards(samples: Samples, suffix: str) -> list[Shard]:
    """`data/train-00000-of-00003.<suffix>` …, each of SHARD samples, the last one of fewer."""
    found = []
    for split, frame in samples.splits.items():
        parts = list(frame.iter_slices(SHARD))
        names = [f"data/{split}-{place:05d}-of-{len(parts):05d}.{suffix}" for place in range(len(parts))]
        found += [Shard(name, split, part) for name, part in zip(names, parts, strict=True)]
    return found


def write_parquet(folder: Path, samples: Samples, progress: Progress, with_pictures: bool = True) -> None:
    """Parquet with the pictures in it, typed so that `datasets.load_dataset(folder)` shows them as
    pictures."""
    features = _features(with_pictures)
    schema = pa.schema([(name, _arrow(name)) for name in features])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    for shard in shards(samples, "parquet"):
        if _there(folder, shard, progress):
            continue
        with file_system.draft(folder / shard.name) as half, pq.ParquetWriter(half, schema) as writer:
            found = pictures.read_ahead(shard.frame) if with_pictures else iter(())
            for part in shard.frame.iter_slices(ROW_GROUP):
                columns: dict[str, Any] = {name: part[name].to_list() for name in COLUMNS}
                if with_pictures:
                    columns[IMAGE] = [_embedded(row, next(found)) for row in part["sample_id"]]
                arrays = [pa.array(columns[name], _arrow(name)) for name in features]
                writer.write_table(pa.table(arrays, schema=schema))
                progress(part.height)


def write_webdataset(folder: Path, samples: Samples, progress: Progress) -> None:
    """Tar files of a picture and a JSON a sample. Readers want one kind of picture in all of them: JPEG where
    every file can leave as it is and is one, else PNG, which is exact too but larger."""
    exact = not pictures.all_are(samples.frame, "jpg")
    for shard in shards(samples, "tar"):
        if _there(folder, shard, progress):
            continue
        with file_system.draft(folder / shard.name) as half, tarfile.open(half, "w") as archive:
            stem = Path(shard.name).stem
            for place, (row, (suffix, content)) in enumerate(_with_pictures(shard.frame, exact)):
                key = f"{stem}-{place:05d}"
                said = json.dumps({name: row[name] for name in COLUMNS}, ensure_ascii=False, sort_keys=True)
                for name, data in ((f"{key}.{suffix}", content), (f"{key}.json", said.encode())):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
                progress(1)


def webdataset_suffix(folder: Path) -> str | None:
    """What the pictures in the tar files of an export are called; None where there are none."""
    for path in sorted(folder.glob("data/*.tar")):
        with tarfile.open(path) as archive:
            return archive.getnames()[0].rpartition(".")[2]
    return None


def write_folder(folder: Path, samples: Samples, progress: Progress) -> None:
    """`data/<split>/…` and labels.csv with a line a picture: FiftyOne's CSVDataset, and anything that reads
    CSV."""
    names = []
    for split, frame in samples.splits.items():
        for place, (_, (suffix, content)) in enumerate(_with_pictures(frame, exact=False)):
            name = f"{split}/{place:07d}.{suffix}"
            file_system.write(folder / "data" / name, content)
            names.append(name)
            progress(1)
    numbers = pl.col("overruled").cast(pl.List(pl.String)).list.join(" ")
    table = pl.concat(samples.splits.values()).select(COLUMNS).with_columns(numbers)
    table.insert_column(0, pl.Series("filepath", names, dtype=pl.String))
    file_system.write(folder / "labels.csv", table.write_csv())


def _with_pictures(frame: pl.DataFrame, exact: bool) -> Iterator[tuple[dict[str, Any], tuple[str, bytes]]]:
    yield from zip(frame.iter_rows(named=True), pictures.read_ahead(frame, exact), strict=True)


def _there(folder: Path, shard: Shard, progress: Progress) -> bool:
    """Whether an export that was killed wrote this shard already: a shard is there whole, or not at all."""
    there = file_system.size(folder / shard.name) is not None
    if there:
        progress(shard.frame.height)
    return there


def _embedded(sample_id: str, picture: tuple[str, bytes]) -> dict[str, Any]:
    suffix, content = picture
    return {
        "bytes": content,
        "path": f"{sample_id.replace('/', '_').rpartition('.')[0] or sample_id}.{suffix}",
    }


def _features(with_pictures: bool) -> dict[str, Any]:
    """The columns as Hugging Face's `datasets` writes them down."""
    found: dict[str, Any] = {IMAGE: {"_type": "Image"}} if with_pictures else {}
    for name in COLUMNS:
        found[name] = {"dtype": "float32" if name in facs.COLUMNS else "string", "_type": "Value"}
    return found | {"overruled": {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "List"}}


def _arrow(name: str) -> pa.DataType:
    if name == IMAGE:
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    if name == "overruled":
        return pa.list_(pa.int64())
    return pa.float32() if name in facs.COLUMNS else pa.string()
