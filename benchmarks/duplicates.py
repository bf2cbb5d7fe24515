"""How long look-alikes take to find among made-up perceptual hashes: photographs, and frames of 27 subjects.

python benchmarks/duplicates.py --rows 200000 --within 16
"""

import resource
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from curation import duplicates, training_set

SUBJECTS, BITS = 27, 256
ALIKE = {"photographs": 0.0, "portraits": 0.1}
"""Share of the bits that all photographs have in common. For the aligned faces of LFW it is about 0.06."""


def table(rows: int, alike: float, seed: int = 0) -> pl.DataFrame:
    """Half photographs, of which every twentieth is a copy of another, four bits off; half frames."""
    rng = np.random.default_rng(seed)
    web = rng.random((rows // 2, BITS)) < 0.5
    web[:, rng.permutation(BITS)[: int(alike * BITS)]] = True
    copies = len(web) // 20
    web[:copies] = web[copies : 2 * copies] ^ (rng.random((copies, BITS)) < 4 / BITS)
    subject = rng.integers(0, SUBJECTS, rows - len(web))
    frames = (rng.random((SUBJECTS, BITS)) < 0.5)[subject] ^ (rng.random((len(subject), BITS)) < 0.06)
    packed = np.packbits(np.concatenate([web, frames]), axis=1)
    unit = pl.Series([*(f"photograph {i}" for i in range(len(web))), *(f"subject {i}" for i in subject)])
    return pl.DataFrame(
        {
            "sample_id": [f"{i:07}" for i in range(rows)],
            "unit": unit,
            "split": ["test" if number < 0.1 else "train" for number in training_set.uniform(unit, "split")],
            "perceptual_hash": [row.tobytes().hex() for row in packed],
        }
    ).with_columns(
        pl.lit(True).alias("keep"),
        pl.lit(None, dtype=pl.String).alias("reason_code"),
        pl.lit(None, dtype=pl.String).alias("reason_detail"),
        *(pl.lit(None, dtype=kind).alias(name) for name, kind in duplicates.FOUND.items()),
    )


def main(
    rows: Annotated[int, typer.Option(help="Samples.")] = 200_000,
    within: Annotated[int, typer.Option(help="Bits in which copies may differ.")] = 16,
) -> None:
    """Print wall and CPU seconds, and what was found."""
    for name, alike in ALIKE.items():
        samples = table(rows, alike)
        wall, cpu = time.perf_counter(), time.process_time()
        found = duplicates.drop_across_splits(samples, within)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        twice, dropped = found["duplicate_of"].count(), rows - found["keep"].sum()
        print(f"{name}: {wall:.1f} s, {cpu:.1f} s of CPU; {twice} look alike, {dropped} dropped", flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    typer.run(main)
