"""A home with a training set of a dozen pictures, as an export reads it; no stage runs."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import polars as pl
from PIL import Image

import facs
import picture_files
from picture_files import Region
from store import Store

SIDE = 24
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def picture(number: int, form: str = "JPEG", **options) -> bytes:
    """A picture that differs from the others."""
    buffer = BytesIO()
    Image.new("RGB", (SIDE, SIDE), (20 * number, 100, 250 - 20 * number)).save(buffer, form, **options)
    return buffer.getvalue()


def write_home(folder: Path, frames: int = 2) -> Store:
    """Photographs 0-7 of AffectNet (6: PNG, 7: with EXIF), and DISFA frames of which a part is seen."""
    exif = Image.Exif()
    exif[0x0110] = "a camera's name"
    raw = {name: folder / "raw" / name for name in ("affectnet", "disfa")}
    for place in raw.values():
        place.mkdir(parents=True)
    rows = []
    for number in range(8 + frames):
        source = "affectnet" if number < 8 else "disfa"
        form, options = ("PNG", {}) if number == 6 else ("JPEG", {"exif": exif} if number == 7 else {})
        content, region = picture(number, form, **options), Region(2, 2, 12, 12) if number > 7 else None
        name = f"{number}.jpg"
        (raw[source] / name).write_bytes(content)
        values = dict.fromkeys(facs.COLUMNS, 0.0) | {"au12": number / 2}
        rows.append(
            {
                "sample_id": f"{source}/{number}.jpg",
                "source": source,
                "file_kind": f"raw_{source}",
                "file": picture_files.part_of(name, region) if region else name,
                "content_hash": picture_files.content_hash(content, region),
                "subject": "SN001" if source == "disfa" else None,
                **values,
                "au9": None if source == "affectnet" else 1.0,
                "overruled": [12] if number == 0 else None,
                "caption": f"picture {number}",
                "split": "validation" if number == 1 else "train",
                "keep": number != 5,
                "reason_code": None,
                "reason_detail": None,
            }
        )
    types = dict.fromkeys(("subject", "caption", "reason_code", "reason_detail", "split"), pl.String)
    types |= dict.fromkeys(facs.COLUMNS, pl.Float64) | {"overruled": pl.List(pl.Int64)}
    table = pl.DataFrame(rows, schema_overrides=types)
    store = Store(folder / "home", {f"raw_{name}": place for name, place in raw.items()})
    photographs = table.filter(source="affectnet").select(
        "sample_id", model=pl.lit("reader"), fingerprint=pl.lit("f00d")
    )
    store.write("au_annotation", photographs, {"run_id": "r1", "code_version": "1"})
    settings = {"captions": {"provider": "blip2", "model": "/home/me/models/blip2"}}
    store.write("captions", table.select("sample_id", "caption"), {"run_id": "r1", "settings": settings})
    upstream = {"au_annotation": 0, "captions": 0}
    store.write("training_set", table, {"run_id": "r1", "code_version": "2", "upstream": upstream})
    return store
