"""What a sample's labels would be with one setting changed, and what else in the data set would move: exact,
since all that follows from the models' answers is computed again.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

import facs
from provenance import difference
from provenance.difference import Difference, Tables
from provenance.moments import Moment
from provenance.replay import NotReplayable, changed, recorded, replay, rules, value_of


@dataclass(frozen=True)
class Fate:
    """What became of a sample: kept in a split, or dropped at a stage for a reason; its labels by AU."""

    kept: bool
    stage: str | None
    reason: str | None
    split: str | None
    labels: dict[str, float | None]


@dataclass(frozen=True)
class Counterfactual:
    """A sample as it is and as it would be with `setting`, which is `now`; and the whole data set's
    difference."""

    sample_id: str
    setting: str
    now: Any
    before: Fate
    after: Fate
    difference: Difference

    @property
    def moved(self) -> list[tuple[int, float | None, float | None]]:
        """The AUs whose label differs: number, before, after."""
        names = self.before.labels.keys() | self.after.labels.keys()
        pairs = {name: (self.before.labels.get(name), self.after.labels.get(name)) for name in names}
        return [(au, *pairs[f"au{au}"]) for au in facs.ACTION_UNITS if len(set(pairs.get(f"au{au}", ()))) > 1]


def counterfactual(moment: Moment, sample_id: str, setting: str) -> Counterfactual:
    """What `sample_id` would be with `setting` ("corrections.gamma.AU4=1.0"), at a moment.

    Raises UnknownSetting, NeedsModel where pictures would come that no model was asked about, and
    NotReplayable where the stored tables themselves do not follow from their answers by this code: then
    nothing that is computed from them could be compared with them.
    """
    own, tables = rules(moment), recorded(moment)
    other = changed(own, setting)
    before = replay(moment, tables, own)
    if said := difference.compare(tables, before):
        raise NotReplayable(
            f"the tables of {moment.store.home} ({moment.told}) do not follow from their answers by this "
            f"code "
            f"({len(said.came) + len(said.went)} reasons and {len(said.moved)} AUs differ): run the data set "
            "first, as in fineface run --select data_set"
        )
    after = replay(moment, tables, other)
    return Counterfactual(
        sample_id,
        setting,
        value_of(own, setting),
        fate(before, sample_id),
        fate(after, sample_id),
        difference.compare(before, after),
    )


def fate(tables: Tables, sample_id: str) -> Fate:
    """What became of a sample in a data set's tables."""
    mine = pl.col("sample_id") == sample_id
    rows = difference.fate(tables).filter(mine)
    row: dict[str, Any] = rows.row(0, named=True) if rows.height else {}
    labels = tables[difference.LAST].filter(mine, pl.col("keep"))
    found = labels.row(0, named=True) if labels.height else {}
    aus = {name: found[name] for name in facs.COLUMNS if name in found}
    return Fate(bool(row.get("kept")), row.get("stage"), row.get("reason"), found.get("split"), aus)
