"""How a picture is measured beside another one or a text: CLIP's cosines, whether it shows the same person,
pixels. Definitions only; what was asked of action units is measured in `metrics`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from evaluation.bootstrap import Sums

CLIP_METRICS = ("clip_i", "clip_i_base", "clip_t")
"""Columns of a clip_scores frame: the cosine of a sample's CLIP embedding with that of its no-AU partner, of
the untouched base's picture of the same prompt and noise, and of its prompt."""
IDENTITY_METRICS = ("identity_distance", "same_person")
"""Columns of an identity_scores frame: the distance of a sample's face descriptor from that of its no-AU
partner, and whether it is below SAME_PERSON."""
SAME_PERSON = 0.6
"""Distance below which two descriptors of dlib's network are of one person: its authors' threshold."""
PIXEL_METRICS = ("l1", "outside_l1", "outside_psnr", "kept")
"""Columns of an edit_fidelity frame: mean absolute difference of all pixels of edit and source and of those
outside the face, 0-1; PSNR outside the face, dB; mean of the attention mask, the share of the source that is
kept."""
RANGES = {
    **dict.fromkeys(CLIP_METRICS, (-1.0, 1.0)),
    "identity_distance": (0.0, np.inf),
    **dict.fromkeys(("same_person", "l1", "outside_l1", "kept"), (0.0, 1.0)),
    "outside_psnr": (-np.inf, np.inf),
}


def mean(frame: pl.DataFrame, column: str) -> Sums:
    """The mean of a column of RANGES; null (nothing to compare) is not counted.

    Raises ValueError if a value lies outside its range.
    """
    values = frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    low, high = RANGES[column]
    seen = values[~np.isnan(values)]
    if (seen < low - 1e-5).any() or (seen > high + 1e-5).any():
        raise ValueError(f"{column} outside [{low:g}, {high:g}]")
    return Sums.of(values, ~np.isnan(values), frame["prompt_index"].to_numpy())


def cosines(embedded: pl.DataFrame, texts: pl.DataFrame | None = None) -> pl.DataFrame:
    """The samples of `embedded` with the columns of CLIP_METRICS that can be measured.

    `embedded` has protocol columns and `embedding`: samples, their no-AU partners (for `clip_i`) and perhaps
    the base's pictures (for `clip_i_base`). `texts` has `prompt` and `embedding` (for `clip_t`). Only rows
    with a partner are kept, in order. Raises ValueError for one whose partner is not there.
    """
    samples = embedded.drop_nulls("partner_id")
    by_id = embedded.select(pl.col("sample_id").alias("key"), pl.col("embedding").alias("other"))
    references = {"clip_i": (pl.col("partner_id"), by_id)}
    if not embedded.filter(kind="base").is_empty():
        references["clip_i_base"] = (pl.col("partner_id").str.replace("^no_au/", "base/"), by_id)
    if texts is not None:
        by_prompt = texts.select(pl.col("prompt").alias("key"), pl.col("embedding").alias("other"))
        references["clip_t"] = (pl.col("prompt"), by_prompt)
    for metric, (key, others) in references.items():
        pairs = samples.select("sample_id", "embedding", key.alias("key")).join(
            others, on="key", how="left", maintain_order="left", validate="m:1"
        )
        if (missing := pairs.filter(pl.col("other").is_null())).height:
            raise ValueError(f"nothing to compare sample {missing['sample_id'][0]} with for {metric}")
        found = cosine(_rows(pairs["embedding"]), _rows(pairs["other"]))
        samples = samples.with_columns(pl.Series(metric, found, dtype=pl.Float64))
    return samples


def cosine(embeddings: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """Row-wise cosine of two [N, d] arrays: [N], in -1 to 1.

    Raises ValueError for a zero row or for unequal shapes.
    """
    a, b = np.asarray(embeddings, np.float64), np.asarray(partners, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"embeddings of shapes {a.shape} and {b.shape}")
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    if not (length > 0).all():
        raise ValueError(f"embedding {int(np.argmin(length > 0))} is zero or not finite")
    return np.clip((a * b).sum(axis=1) / length, -1.0, 1.0)


def identities(described: pl.DataFrame) -> pl.DataFrame:
    """The samples of `described` with IDENTITY_METRICS, in order; partners and base are left out.

    `described` has protocol columns and `descriptor`, null where no face was found. A sample without a face
    shows nobody: `same_person` is 0 and there is no distance. Where the partner has none there is nobody to
    keep: both are null. Raises ValueError for a sample whose partner is not there.
    """
    samples = described.drop_nulls("partner_id")
    partners = described.select(
        pl.col("sample_id").alias("partner_id"), pl.col("descriptor").alias("_of_partner"), _there=True
    )
    pairs = samples.join(partners, on="partner_id", how="left", maintain_order="left", validate="m:1")
    if (missing := pairs.filter(pl.col("_there").is_null())).height:
        raise ValueError(f"no-AU sample {missing['partner_id'][0]} was not described")
    return samples.with_columns(faces(pairs["descriptor"], pairs["_of_partner"]))


def faces(descriptors: pl.Series, partners: pl.Series) -> list[pl.Series]:
    """IDENTITY_METRICS of two columns of descriptors, null where no face was found: see `identities`."""
    apart = [
        None if None in (own, other) else float(np.linalg.norm(np.subtract(own, other)))
        for own, other in zip(descriptors.to_list(), partners.to_list(), strict=True)
    ]
    distance = pl.Series("identity_distance", apart, dtype=pl.Float64)
    same = (distance < SAME_PERSON).fill_null(False).cast(pl.Float64)
    someone = pl.select(pl.when(partners.is_not_null()).then(same)).to_series()
    return [distance, someone.alias("same_person")]


def _rows(embeddings: pl.Series) -> np.ndarray:
    """A list column → float array [N, d]."""
    return np.array(embeddings.to_list(), dtype=np.float64).reshape(len(embeddings), -1)


def joined(clip: pl.DataFrame, identity: pl.DataFrame | None) -> pl.DataFrame:
    """A clip_scores frame with the columns of an identity_scores frame of the same samples, if any."""
    if identity is None or identity.is_empty():
        return clip
    columns = identity.select("sample_id", *IDENTITY_METRICS)
    return clip.join(columns, on="sample_id", how="left", maintain_order="left", validate="1:1")
