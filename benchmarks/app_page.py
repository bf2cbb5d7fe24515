"""How long the app's page of samples takes in a home of many: the table of all samples, then a page of 100
with its thumbnails, decoded from photographs of 512 px. The home is that of `benchmarks/audit.py`.

python benchmarks/app_page.py /tmp/audit
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app import markup, samples
from app.samples import Filter
from app.thumbnails import SIDES, Thumbnails
from store import Store


def main(home: Annotated[Path, typer.Argument(help="A home that benchmarks/audit.py built.")]) -> None:
    """Print seconds, by the clock and of the processor."""
    with tempfile.TemporaryDirectory() as raw:
        _photographs(Path(raw))
        store = Store(home, {"raw_affectnet": raw})
        overview = samples.Overview(store)
        table = _timed("the table of all samples, first", lambda: overview.frame)
        table = _timed("the same, nothing new", lambda: overview.frame)
        print(f"{table.height:,} samples")
        wanted = Filter(source="affectnet", verdict="kept", au=12, low=1.0, order="strongest")
        rows = _timed("filter, sort, page", lambda: samples.page(samples.select(table, wanted), 7).to_dicts())
        page = _timed("the page's HTML", lambda: _rendered(rows, table.height))
        shown = Thumbnails(store)
        _timed(
            "100 thumbnails", lambda: [shown.jpeg(SIDES[0], "raw_affectnet", f"{n}.jpg") for n in range(100)]
        )
        print(f"{len(rows)} rows, {len(page):,} characters")


def _photographs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(100):
        small = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
        small.resize((512, 512)).save(folder / f"{number}.jpg", quality=90)


def _rendered(rows: list[dict], total: int) -> str:
    return markup.render(
        "grid", rows=rows, total=total, all=total, number=7, pages=9, chosen="", au=12, shown="strongest"
    )


def _timed(what, compute):
    clock, processor = time.perf_counter(), time.process_time()
    found = compute()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(f"{what:<34}{clock:8.3f} s  {processor:8.3f} s of processor time")
    return found


if __name__ == "__main__":
    typer.run(main)
