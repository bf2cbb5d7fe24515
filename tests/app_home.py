"""A small home by hand: photographs that were kept, dropped and overruled, a DISFA frame, one experiment."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from PIL import Image

import facs
import stages
from curation import overrides
from evaluation import protocol, tables
from store import Store

SMILE, CARTOON, SMALL, FRAME = (
    "affectnet/1/smile.png",
    "affectnet/1/cartoon.png",
    "affectnet/2/s.png",
    "disfa/S/1",
)
THRESHOLDS = {"cartoon": 0.5, "real": 0.5}


def declared(stage: str, *rows: dict) -> pl.DataFrame:
    """`rows` with all columns of the stage; those not given are null, `keep` is true."""
    columns = stages.named(stage).columns
    given = [{"keep": True, **row} for row in rows]
    return pl.DataFrame(
        {
            name: pl.Series([row.get(name) for row in given], dtype=column.dtype)
            for name, column in columns.items()
        }
    )


def picture(sample: str, **more) -> dict:
    name = sample.rpartition("/")[2]
    return {
        "sample_id": sample,
        "source": sample.partition("/")[0],
        "file_kind": "raw_affectnet",
        "file": f"faces/{name}",
        "content_hash": f"hash of {name}",
        **more,
    }


def dropped(code: str, detail: str = "") -> dict:
    return {"keep": False, "reason_code": code, "reason_detail": detail}


def write(folder: Path) -> Store:
    """The home in `folder`, its raw pictures beside it."""
    raw = folder / "raw"
    (raw / "faces").mkdir(parents=True)
    for name in ("smile", "cartoon", "s"):
        Image.new("RGB", (300, 200), (200, 120, 40)).save(raw / "faces" / f"{name}.png")
    store = Store(folder / "home", {"raw_affectnet": raw})
    photographs = [picture(one) for one in (CARTOON, SMILE, SMALL)]
    frame = picture(FRAME, file=None, file_kind=None)
    store.write("raw_affectnet", declared("raw_affectnet", *photographs))
    labels = {f"label_au{au}": 0.0 for au in facs.ACTION_UNITS} | {"label_au12": 5.0}
    store.write("raw_disfa", declared("raw_disfa", frame | labels))
    store.write("face_crop", declared("face_crop", *photographs, frame))
    store.write(
        "resolution",
        declared("resolution", *photographs[:2], photographs[2] | dropped("too_small", "48 < 64")),
    )
    scores = {"cartoon_answer": "no", "real_answer": "yes", "real_score": 0.9}
    store.write(
        "photorealism",
        declared(
            "photorealism",
            picture(CARTOON, **scores, cartoon_score=0.6, model_keep=False, **dropped("not_photorealistic")),
            picture(SMILE, **scores, cartoon_score=0.4, model_keep=True),
        ),
        {"settings": {"photorealism": {"thresholds": THRESHOLDS}}},
    )
    zeros = dict.fromkeys(facs.COLUMNS, 0.0)
    store.write(
        "au_annotation", declared("au_annotation", picture(SMILE, **zeros | {"au12": 2.0}, model="reader"))
    )
    store.write(
        "captions",
        declared("captions", picture(SMILE, caption="a <b>smile</b>"), frame | {"caption": "a frame"}),
    )
    store.write("training_set", training_set())
    readings = {name: [value, value] for name, value in zeros.items()} | {"au12": [2.0, 4.0]}
    memo = pl.DataFrame({"key": ["a", "b"], **readings, "content_hash": ["hash of smile.png"] * 2})
    store.memo("action_units").get_or_compute(memo.select("key"), lambda _: memo, chunk=8)
    return store


def training_set(said: pl.DataFrame | None = None, **moved) -> pl.DataFrame:
    labels = dict.fromkeys(facs.COLUMNS, 0.0)
    table = declared(
        "training_set",
        picture(SMILE, **labels | {"au12": 3.5} | moved, split="train", caption="a <b>smile</b>"),
        picture(FRAME, file=None, file_kind=None, **labels | {"au12": 5.0}, split="test", caption="a frame"),
    ).drop("overruled")
    return overrides.apply_intensities(table, overrides.SCHEMA.to_frame() if said is None else said)


def say(store: Store, sample: str, stage: str, said: str, minute: int = 0) -> None:
    at = datetime(2026, 3, 1, 12, minute, tzinfo=UTC)
    store.append(overrides.TABLE, overrides.override(sample, stage, said, "Ada", "because", at))


def scores(share: float = 0.5) -> pl.DataFrame:
    """One prompt's samples and their partners: each AU measured at a share of what was asked, AU25 at as much
    of AU12."""
    asked = protocol.build("miniature", count=1)
    table = pl.concat([asked, protocol.no_au_samples(asked)])
    return table.with_columns(
        *((pl.col(column) * share).alias(f"measured_{column}") for column in facs.COLUMNS),
        judge=pl.lit("labeller"),
        file_kind=pl.lit("generated"),
        file=pl.concat_str("sample_id", pl.lit(".png")),
    ).with_columns(measured_au25=pl.max_horizontal("measured_au25", pl.col("au12") * share))


def results() -> pl.DataFrame:
    """`tables.results` of one experiment that follows by half and one that does not."""
    return tables.results({"half": scores().drop("judge"), "none": scores(0.0).drop("judge")})
