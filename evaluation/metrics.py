"""How a generated sample is measured against what was asked for. Definitions only: no intervals, no tables.
What is measured beside another picture lives in `partners`.

Every AU error is a squared difference of intensities (0-5), averaged over *entries*, pairs of a sample and
an AU. A picture without a face is read as a face without expression, twelve zeros: left out, it would reward
whoever destroys the difficult pictures. The measures that end in `_found` leave it out all the same, and
`face_failure_rate` says how many there are. An AU that the judge does not read has no entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

import facs
from evaluation.bootstrap import Sums

MEASURED = tuple(f"measured_{column}" for column in facs.COLUMNS)


@dataclass(frozen=True)
class Scores:
    """What was asked and what measured: N samples, `target` and `measured` [N, 12], NaN if not measured.

    `face_found` [N] says in which pictures there was a face; `measured` of the others is 0.
    """

    sample_id: np.ndarray
    request: np.ndarray
    prompt: np.ndarray
    target: np.ndarray
    measured: np.ndarray
    face_found: np.ndarray

    @classmethod
    def of(cls, frame: pl.DataFrame, read: np.ndarray | None = None) -> Scores:
        """Read an au_scores frame: protocol columns and measured_au1 … measured_au26 (null = not measured).

        A row without any measured value is a picture without a face. `read` [12] says which AUs the judge
        reads, those that count as 0 in such a picture; by default `aus_read(frame)`. Give it where `frame` is
        a part of what the judge saw. Raises ValueError for a missing column, a sample that stands twice, or a
        value that is not finite.
        """
        missing = {"sample_id", "prompt_index", *facs.COLUMNS, *MEASURED} - set(frame.columns)
        if missing:
            raise ValueError(f"scores lack the columns {', '.join(sorted(missing))}")
        if frame["sample_id"].is_duplicated().any():
            twice = frame.filter(pl.col("sample_id").is_duplicated())["sample_id"][0]
            raise ValueError(f"scores hold sample {twice} more than once")
        for column in (*facs.COLUMNS, *MEASURED):
            bad = frame.filter(~pl.col(column).cast(pl.Float64).is_finite())
            if bad.height:
                raise ValueError(f"{column} of sample {bad['sample_id'][0]} is not finite")
        measured = frame.select(pl.col(MEASURED).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
        face_found = ~np.isnan(measured).all(axis=1)
        expressionless = np.where(aus_read(frame) if read is None else read, 0.0, np.nan)
        return cls(
            frame["sample_id"].to_numpy(),
            requests(frame).to_numpy(),
            frame["prompt_index"].to_numpy(),
            frame.select(pl.col(facs.COLUMNS).cast(pl.Float64)).to_numpy(),
            np.where(face_found[:, None], measured, expressionless),
            face_found,
        )

    def __len__(self) -> int:
        return len(self.sample_id)

    def take(self, rows: np.ndarray) -> Scores:
        """Only these rows (a mask or positions)."""
        return Scores(
            self.sample_id[rows],
            self.request[rows],
            self.prompt[rows],
            self.target[rows],
            self.measured[rows],
            self.face_found[rows],
        )

    @property
    def found(self) -> Scores:
        """Only the pictures in which there was a face, with every prompt still in the count."""
        return replace(self, measured=np.where(self.face_found[:, None], self.measured, np.nan))

    def prompting(self, au: int) -> Scores:
        """Only the samples that ask for `au`."""
        return self.take(self.prompted[:, facs.ACTION_UNITS.index(au)])

    def only(self, au: int) -> Scores:
        """All samples, of which only `au` was measured."""
        column = np.arange(12) == facs.ACTION_UNITS.index(au)
        return replace(self, measured=np.where(column, self.measured, np.nan))

    @property
    def prompted(self) -> np.ndarray:
        """Which AUs each sample asks for: bool [N, 12]."""
        return self.target > 0

    @property
    def valid(self) -> np.ndarray:
        """Which entries count: bool [N, 12]."""
        return ~np.isnan(self.measured)

    @property
    def squared_error(self) -> np.ndarray:
        """[N, 12], NaN if not measured."""
        return (self.measured - self.target) ** 2


def au_mse_prompted(scores: Scores) -> Sums:
    """Squared error averaged over all entries that were asked for. This is compared with the paper's AU-MSE.

    Eq. 3 as printed cannot give the numbers of the paper's Table 1. Of the readings tried this one fits best;
    that it is the paper's is not proven. An all-zero prediction has exactly 11.0 on the 900 individual
    samples, (1 + 4 + 9 + 16 + 25) / 5.
    """
    return Sums.of(scores.squared_error, scores.prompted & scores.valid, scores.prompt)


def au_mse_worst_case(scores: Scores) -> Sums:
    """`au_mse_prompted` where a picture without a face counts as the reading farthest from its prompt.

    The error that guidance is chosen by: losing a face never lowers it, whatever was to be seen. Counted as
    expressionless, a lost face does lower the error of an overdone one: asked for 2, from 9 (seen 5) to 4.
    """
    farthest = np.maximum(scores.target, facs.MAXIMUM - scores.target) ** 2
    error = np.where(scores.face_found[:, None], np.minimum(scores.squared_error, farthest), farthest)
    return Sums.of(error, scores.prompted & scores.valid, scores.prompt)


def au_mse_all(scores: Scores) -> Sums:
    """Squared error averaged over all twelve AUs; what was not asked for should be 0. All-zero: 11/12."""
    return Sums.of(scores.squared_error, scores.valid, scores.prompt)


def au_mse_unprompted(scores: Scores) -> Sums:
    """Squared error averaged over the entries that were *not* asked for: the mean square of what leaked."""
    return Sums.of(scores.squared_error, ~scores.prompted & scores.valid, scores.prompt)


def au_mse_mismatched(scores: Scores) -> Sums:
    """The control: `au_mse_prompted` with the asked-for intensities moved to AUs that were not asked for.

    Each asked-for intensity v is compared with the measured values m_u of the sample's other AUs u, those
    not asked for; its error is the mean over u of (v - m_u)². That is the exact expectation of drawing, for
    each sample, a random set of AUs disjoint from the asked ones, so nothing is drawn. The entries, their
    weights and the intensities are those of `au_mse_prompted`: a method that raises every AU alike has the
    same value in both.
    """
    others = ~scores.prompted & scores.valid
    count = others.sum(axis=1, keepdims=True)
    measured = np.where(others, scores.measured, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        first = measured.sum(axis=1, keepdims=True) / count
        second = (measured**2).sum(axis=1, keepdims=True) / count
    error = scores.target**2 - 2 * scores.target * first + second
    return Sums.of(error, scores.prompted & scores.valid & (count > 0), scores.prompt)


def au_mse_over_control(scores: Scores) -> Sums:
    """`au_mse_prompted` less `au_mse_mismatched`, whose entries are the same."""
    prompted, control = au_mse_prompted(scores), au_mse_mismatched(scores)
    return Sums(prompted.prompts, prompted.total - control.total, np.minimum(prompted.count, control.count))


def au_bias(scores: Scores) -> Sums:
    """Measured minus asked-for intensity, over the entries that were asked for: below 0 is too weak."""
    return Sums.of(scores.measured - scores.target, scores.prompted & scores.valid, scores.prompt)


def face_failure_rate(scores: Scores) -> Sums:
    """The share of samples in which no AU was measured, because no face was found."""
    return Sums.of(~scores.face_found, np.ones(len(scores), bool), scores.prompt)


AU_METRICS: dict[str, Callable[[Scores], Sums]] = {
    "au_mse_prompted": au_mse_prompted,
    "au_mse_prompted_found": lambda scores: au_mse_prompted(scores.found),
    "au_mse_all": au_mse_all,
    "au_mse_all_found": lambda scores: au_mse_all(scores.found),
    "au_mse_unprompted": au_mse_unprompted,
    "au_mse_mismatched": au_mse_mismatched,
    "au_mse_over_control": au_mse_over_control,
    "face_failure_rate": face_failure_rate,
}


DIFFERENT = (
    "cannot compare: the two experiments were not given the same samples, prompts and noise (prompts are "
    "drawn anew when the training set changes: run 'generated_samples+' of both)"
)


def requests(frame: pl.DataFrame) -> pl.Series:
    """What each sample is, as text: its id, and its prompt and seed where the frame has them."""
    parts = [name for name in ("sample_id", "prompt", "seed") if name in frame.columns]
    return frame.select(pl.concat_str(parts, separator="\x1f").alias("request")).to_series()


def paired(first: Scores, second: Scores) -> tuple[Scores, Scores]:
    """The same samples in the same order, with only the entries that were measured in both.

    Raises ValueError if the two do not hold the same samples with the same targets, prompts and noise.
    """
    a, b = (s.take(np.argsort(s.sample_id.astype(str))) for s in (first, second))
    if len(a) != len(b) or (a.request != b.request).any() or (a.target != b.target).any():
        raise ValueError(DIFFERENT)
    both = a.valid & b.valid
    return (
        replace(a, measured=np.where(both, a.measured, np.nan)),
        replace(b, measured=np.where(both, b.measured, np.nan)),
    )


def differences(frame: pl.DataFrame, kind: str) -> Scores:
    """What changed from the no-AU partner, instead of what is measured: a judge that knows each face at rest.

    `frame` is an au_scores frame with the samples of `kind` and their partners. `measured` becomes the
    sample's minus the partner's, -5 to 5; where either has no face nothing was seen to change, so it is 0
    and `face_found` is false. Raises ValueError for a sample whose partner is not there.
    """
    read = aus_read(frame)
    samples = Scores.of(frame.filter(kind=kind), read)
    partners = Scores.of(frame.filter(kind="no_au"), read)
    place = {sample_id: row for row, sample_id in enumerate(partners.sample_id)}
    named = frame.filter(kind=kind)["partner_id"].to_list()
    if missing := [partner for partner in named if partner not in place]:
        raise ValueError(f"no-AU sample {missing[0]} was not measured")
    partner = partners.take(np.array([place[partner_id] for partner_id in named], dtype=int))
    found = samples.face_found & partner.face_found
    change = np.where(found[:, None], samples.measured - partner.measured, np.where(read, 0.0, np.nan))
    return replace(samples, measured=change, face_found=found)


def confusion_rate(changes: Scores) -> Sums:
    """The share of samples in which an AU that was not asked for rises at least as much as the one that was.

    `changes` is of `differences`, individual samples. Whichever other AU rises most is the neighbour that it
    is confused with; a picture without a face, in which nothing rises, counts as confused. After the
    structural confusion rate of PixelSmile (arXiv 2603.25728), which asks the same of whole expressions. An
    AU that the judge does not read is not counted. Raises ValueError if a sample asks for more than one AU.
    """
    if (changes.prompted.sum(axis=1) != 1).any():
        raise ValueError("confusion is defined on samples that ask for exactly one AU")
    asked = np.where(changes.prompted & changes.valid, changes.measured, -np.inf).max(axis=1, initial=-np.inf)
    others = np.where(~changes.prompted & changes.valid, changes.measured, -np.inf).max(
        axis=1, initial=-np.inf
    )
    return Sums.of(others >= asked, np.isfinite(asked), changes.prompt)


def neighbours(changes: Scores) -> dict[int, int]:
    """The most confusable neighbour of each AU: whichever other AU rises most, on average over the samples
    that ask for this one alone.

    `changes` as in `confusion_rate`. An AU that nobody asks for or that the judge does not read has none, and
    is none.
    """
    found = {}
    for i, au in enumerate(facs.ACTION_UNITS):
        asking = changes.prompting(au)
        others = asking.valid.any(axis=0) & (np.arange(12) != i)
        if len(asking) and asking.valid[:, i].any() and others.any():
            rises = np.where(asking.valid, asking.measured, 0.0).mean(axis=0)
            found[au] = facs.ACTION_UNITS[int(np.where(others, rises, -np.inf).argmax())]
    return found


def wins_over_neighbour(changes: Scores) -> Sums:
    """The share of samples in which the AU asked for rises more than its most confusable neighbour does.

    The neighbour is one and the same for all samples that ask for an AU, unlike in `confusion_rate`, where
    any other AU may win. Where nothing rises, as without a face, it does not win. Raises ValueError if a
    sample asks for more than one AU.
    """
    if (changes.prompted.sum(axis=1) != 1).any():
        raise ValueError("a neighbour is defined for samples that ask for exactly one AU")
    wins, counted = np.zeros((2, len(changes)), bool)
    for au, neighbour in neighbours(changes).items():
        i, j = facs.ACTION_UNITS.index(au), facs.ACTION_UNITS.index(neighbour)
        counted |= changes.prompted[:, i] & changes.valid[:, i] & changes.valid[:, j]
        wins |= changes.prompted[:, i] & (changes.measured[:, i] > changes.measured[:, j])
    return Sums.of(wins, counted, changes.prompt)


def au_mse_expressionless(scores: Scores) -> Sums:
    """`au_mse_prompted` of faces without expression, over the same entries: what control is counted from."""
    return Sums.of(scores.target**2, scores.prompted & scores.valid, scores.prompt)


def harmonic(error: np.ndarray, expressionless: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The harmonic mean of control and of what was kept, 0 to 1: high only if neither is bought with the
    other. After the harmonic editing score of PixelSmile (arXiv 2603.25728).

    Control is 1 - `error` / `expressionless`: 1 where all is as asked for, 0 (and no less) where a face
    without expression would do. `kept`, a cosine or a share, counts as 0 below 0. Elementwise.
    """
    control = np.clip(1 - error / expressionless, 0, 1)
    kept = np.clip(kept, 0, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = 2 * control * kept / (control + kept)
    return np.where(control + kept > 0, mean, 0.0) + 0 * (control + kept)


def monotone_share(scores: Scores) -> Sums:
    """The share of sweeps (one prompt, one noise, one AU asked for) whose measured intensity never falls from
    one asked-for intensity to the next, and is higher at the last than at the first.

    A picture without a face is 0 in its sweep. An AU that the judge does not read is not counted.
    """
    prompts, position = np.unique(scores.prompt, return_inverse=True)
    monotone, asked = np.zeros((2, len(prompts), 12))
    for p, i in np.ndindex(len(prompts), 12):
        sweep = np.flatnonzero((position == p) & scores.prompted[:, i])
        steps = np.diff(scores.measured[sweep[np.argsort(scores.target[sweep, i], kind="stable")], i])
        monotone[p, i] = steps.size > 0 and (steps >= 0).all() and steps.sum() > 0
        asked[p, i] = sweep.size > 0
    return Sums.of(monotone, (asked > 0) & scores.valid.any(axis=0), prompts)


def aus_read(frame: pl.DataFrame) -> np.ndarray:
    """Which AUs the judge of an au_scores frame reads, bool [12]: those measured in any picture, and all
    twelve if there was no face in any.
    """
    read = np.array([column in frame.columns and frame[column].count() > 0 for column in MEASURED])
    return read if read.any() else np.ones(12, bool)


def left_out(frame: pl.DataFrame) -> list[str]:
    """The AUs that the judge of an au_scores frame does not read, "AU9": no mean counts them."""
    return [column.upper() for column, read in zip(facs.COLUMNS, aus_read(frame), strict=True) if not read]


def spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Rank correlation (ties share their mean rank) of `x` and `y` [N], under each row of `weights` [D, N].

    A weight counts how often a sample stands in a draw; without weights, once each. Returns [D], NaN where
    one side is constant. With intensities 1-5 fifteen times each and no tie in y the maximum is 0.98, not
    1.
    """
    weights = np.ones((1, len(x))) if weights is None else np.asarray(weights, np.float64)
    a, b = _ranks(np.asarray(x), weights), _ranks(np.asarray(y), weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        n = weights.sum(axis=1, keepdims=True)
        a = a - (weights * a).sum(axis=1, keepdims=True) / n
        b = b - (weights * b).sum(axis=1, keepdims=True) / n
        variance = (weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1)
        return np.where(variance > 1e-9, (weights * a * b).sum(axis=1) / np.sqrt(variance), np.nan)


def spearman_within(scores: Scores) -> Sums:
    """Rank correlation within each sweep (one prompt, one noise, one AU asked for), averaged over sweeps.

    Where `spearman` over all sweeps also asks that faces answer alike, this asks only that each answers in
    order. A sweep that never changes, or of which fewer than two pictures were measured, counts as 0; an AU
    that is not supported does not count.
    """
    prompts, position = np.unique(scores.prompt, return_inverse=True)
    correlations, asked = np.zeros((2, len(prompts), 12))
    for p, i in np.ndindex(len(prompts), 12):
        sweep = (position == p) & scores.prompted[:, i]
        measured = sweep & scores.valid[:, i]
        asked[p, i] = sweep.any()
        correlations[p, i] = np.nan_to_num(
            spearman(scores.target[measured, i], scores.measured[measured, i])[0]
        )
    return Sums.of(correlations, (asked > 0) & scores.valid.any(axis=0), prompts)


def leakage(scores: Scores) -> np.ndarray:
    """How much AU j rises for one more point asked of AU i alone: [12, 12], rows i asked, columns j measured.

    Least-squares slope within each sweep (one prompt, one noise, five intensities), so the base's own habit
    of smiling does not count. The identity is perfect control. NaN where nothing was measured; a picture
    without a face is none. Individual samples only: raises ValueError if a sample asks for more than one AU.
    """
    scores = scores.found
    if (scores.prompted.sum(axis=1) != 1).any():
        raise ValueError("leakage is defined on samples that ask for exactly one AU")
    matrix = np.full((12, 12), np.nan)
    for i, au in enumerate(facs.ACTION_UNITS):
        sweep = scores.prompting(au)
        _, prompt = np.unique(sweep.prompt, return_inverse=True)
        asked = np.where(sweep.valid, sweep.target[:, [i]], np.nan)
        x, y = _centred(asked, prompt), _centred(sweep.measured, prompt)
        spread = np.nansum(x * x, axis=0)
        matrix[i, spread > 0] = np.nansum(x * y, axis=0)[spread > 0] / spread[spread > 0]
    return matrix


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    below = (values[:, None] < values[None, :]).astype(np.float64)
    equal = (values[:, None] == values[None, :]).astype(np.float64)
    return weights @ below + (weights @ equal + 1) / 2


def _centred(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """`values` [N, K] less their mean in each group, NaN ignored."""
    valid = ~np.isnan(values)
    total, count = np.zeros((2, group.max(initial=-1) + 1, values.shape[1]))
    np.add.at(total, group, np.where(valid, values, 0.0))
    np.add.at(count, group, valid)
    return values - (total / np.maximum(count, 1))[group]
