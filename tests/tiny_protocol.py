"""Captions of a training set that does not exist, and the protocols that draw their prompts from them."""

import polars as pl

from evaluation import protocol

CAPTIONS = [
    f"a {age} {who} with {hair} hair in a studio"
    for age in ("young", "old")
    for who in ("man", "woman")
    for hair in ("red", "black", "grey")
]


def build(name: str = "miniature") -> pl.DataFrame:
    """All 1650 samples of the protocol `name`."""
    return protocol.build(name, CAPTIONS)
