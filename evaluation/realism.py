"""How far generated or edited pictures as a whole lie from real ones, by any embedding: FID and KID.

Numbers in papers are of Inception's features; these are of the embedder that the profile has, and compare
with nothing but each other.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import linalg

from evaluation import bootstrap
from evaluation.bootstrap import Estimate
from evaluation.protocol import hash_of
from stages import RENDERED

DEGREE = 3
"""Of KID's polynomial kernel, (x·y / d + 1)^3 (Bińkowski et al. 2018)."""
REFERENCE = 2048
"""Real pictures that generated ones are compared with, where there are so many."""
METRICS = ("kid", "fid")
MEASURED = pl.Schema(
    {
        "metric": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "n": pl.Int64,
        "real": pl.Int64,
        "model": pl.String,
        "fingerprint": pl.String,
    }
)
"""Columns of a measure of METRICS, whatever it is of."""
SCORES = pl.Schema({"experiment": pl.String(), "kind": pl.String(), **MEASURED})


def reference(training_set: pl.DataFrame, count: int = REFERENCE, split: str = "train") -> pl.DataFrame:
    """The pictures of one split of the training set that stand for real ones, each once; which of them
    nothing decides but their content. Rendered ones are none."""
    there = training_set.filter("keep", pl.col("source") != RENDERED, split=split)
    there = there.unique("content_hash", keep="first")
    order = pl.Series(
        "order", [hash_of("real", content) for content in there["content_hash"]], dtype=pl.Binary
    )
    return there.with_columns(order).sort("order").head(count).select("file_kind", "file", "content_hash")


def measured(embedded: pl.DataFrame, real: pl.DataFrame, within: bool = True) -> dict[str, Estimate]:
    """METRICS of two frames with `embedding`, rows of length 1; `embedded` also has `prompt_index`.

    Embeddings are taken at length √d, so that KID's kernel is (cosine + 1)^3 and FID of the usual size. FID
    has no interval. Without real pictures both are NaN. `within` is `kid`'s.
    """
    if real.is_empty():
        return dict.fromkeys(METRICS, Estimate(np.nan, np.nan, np.nan, embedded.height))
    x, y = (
        np.array(frame["embedding"].to_list(), np.float64).reshape(frame.height, -1)
        for frame in (embedded, real)
    )
    x, y = x * np.sqrt(x.shape[1]), y * np.sqrt(y.shape[1])
    return {
        "kid": kid(x, y, embedded["prompt_index"].to_numpy(), within),
        "fid": Estimate(fid(x, y), np.nan, np.nan, len(x)),
    }


def fid(generated: np.ndarray, real: np.ndarray) -> float:
    """The Fréchet distance of two Gaussians fitted to embeddings [M, d] and [N, d] (Heusel et al. 2017):
    |μ - ν|² + tr(A + B - 2 (A B)^½), with unbiased covariances; 0 for equal moments.

    It is biased upwards, the more the fewer pictures there are. NaN with fewer than two of either. Raises
    ValueError for embeddings of different width or that are not finite.
    """
    x, y = _embeddings(generated, real)
    if min(len(x), len(y)) < 2:
        return float("nan")
    a, b = (np.atleast_2d(np.cov(of, rowvar=False)) for of in (x, y))
    # tr (A B)^½ = Σ sqrt λ(A^½ B A^½): symmetric, so that no imaginary part has to be thrown away.
    values, vectors = linalg.eigh(a)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    cross = np.sqrt(np.clip(linalg.eigvalsh(root @ b @ root), 0, None)).sum()
    apart = x.mean(axis=0) - y.mean(axis=0)
    return float(max(0.0, apart @ apart + np.trace(a) + np.trace(b) - 2 * cross))


def kid(generated: np.ndarray, real: np.ndarray, prompt: np.ndarray, within: bool = True) -> Estimate:
    """The squared maximum mean discrepancy of embeddings [M, d] and [N, d] under KID's kernel, unbiased: it
    may fall below 0, and is 0 on average for two samples of one distribution.

    The interval resamples prompts (`prompt` [M]); of a prompt that is drawn twice the pictures of one time
    are not paired with those of the other, which would make them more alike than pictures are. `n` counts the
    generated pictures. NaN with fewer than two of either. Raises ValueError as `fid`.

    Without `within` no two pictures of one prompt are paired: where these are alike by construction, such as
    edits of one source, it is then unbiased over what prompts are drawn from. NaN for a single prompt.
    """
    x, y = _embeddings(generated, real)
    prompts, position = np.unique(prompt, return_inverse=True)
    if min(len(x), len(y)) < 2:
        return Estimate(np.nan, np.nan, np.nan, len(x))
    member = np.eye(len(prompts))[position]
    size = member.sum(axis=0)
    own, others = _kernel(x, x), _kernel(y, y)
    np.fill_diagonal(own, 0.0)
    alike = member.T @ own @ member
    pairs = np.outer(size, size) - np.diag(size)
    if not within:
        np.fill_diagonal(alike, 0.0)
        np.fill_diagonal(pairs, 0.0)
    across = member.T @ _kernel(x, y).mean(axis=1)
    real_term = (others.sum() - np.trace(others)) / (len(y) * (len(y) - 1))

    def paired(weights: np.ndarray, of: np.ndarray) -> np.ndarray:
        apart = of - np.diag(np.diag(of))
        return np.einsum("wp,pq,wq->w", weights, apart, weights) + weights @ np.diag(of)

    def of(weights: np.ndarray) -> np.ndarray:
        counted, inside = paired(weights, pairs), paired(weights, alike)
        with np.errstate(divide="ignore", invalid="ignore"):
            return inside / counted + real_term - 2 * (weights @ across) / (weights @ size)

    value = float(of(np.ones((1, len(prompts))))[0])
    return Estimate(value, *bootstrap.interval(of(bootstrap.weights(len(prompts)))), len(x))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** DEGREE


def _embeddings(generated: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"embeddings of shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("embeddings that are not finite")
    return x, y
