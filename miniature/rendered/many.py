"""Pictures by several processes, in order. What they show is the caller's business."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

_AT_ONCE = 16


def drawn(
    draw: Callable[[dict], np.ndarray], rows: Sequence[dict], processes: int | None = None
) -> Iterator[np.ndarray]:
    """`draw` of each row, in order, by so many processes (None: one a core). Few rows are drawn in this
    one."""
    many = processes or os.cpu_count() or 1
    if many == 1 or len(rows) < 2 * _AT_ONCE:
        yield from map(draw, rows)
        return
    with multiprocessing.get_context("spawn").Pool(many) as pool:
        yield from pool.imap(draw, rows, chunksize=_AT_ONCE)
        pool.close()
        pool.join()  # leaving ends the workers by SIGTERM, which may be ignored where SIGINT is
