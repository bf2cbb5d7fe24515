"""Held-out pictures that are edited on a page: what they show, and what an editor makes of them. Editors are
found by `pipelines.editing`; an edit is the same question, and remembered, as one of the protocol.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

import facs
from assets.editing.sheets import FILES
from pipelines import editing
from settings.profile import Profile
from store import Store

SHOWN = 200
"""Pictures to choose from."""
HELD_OUT = pl.col("keep") & (pl.col("split") == "test")
"""Which of the training set's."""


class NoSuchPicture(LookupError):
    """The training set has no such picture to be tested on."""


@dataclass(frozen=True)
class Picture:
    """A held-out picture, and the intensities that its label says."""

    sample_id: str
    kind: str
    file: str
    content_hash: str
    aus: tuple[float, ...]


class Editors:
    """The trained editors of a home, and the pictures of the split "test"; one edits at a time."""

    def __init__(self, store: Store, profile: Profile, profile_name: str) -> None:
        self.store, self.profile, self._name = store, profile, profile_name
        self._editing = threading.Lock()

    def names(self) -> list[str]:
        """Those of the profile that are there, those that trained something first."""
        there = editing.in_home(self.store, self.profile)
        return [str(row["editor"]) for row in sorted(there, key=lambda row: row["folder"] is None)]

    def pictures(self) -> list[str]:
        """The sample ids of the first SHOWN pictures to choose from."""
        if self.store.version("training_set") is None:
            return []
        found = self.store.read_where("training_set", HELD_OUT, columns=["sample_id"])
        return found["sample_id"].head(SHOWN).to_list()

    def picture(self, sample_id: str) -> Picture:
        """A picture by its sample id. Raises NoSuchPicture."""
        asked = pl.col("sample_id") == sample_id
        found = self.store.read_where("training_set", HELD_OUT & asked).to_dicts()
        if not found:
            raise NoSuchPicture(f"{sample_id} is no picture of the split “test”")
        row = found[0]
        aus = tuple(float(row[column] or 0.0) for column in facs.COLUMNS)
        return Picture(sample_id, row["file_kind"], row["file"], row["content_hash"], aus)

    def edit(self, editor: str, picture: Picture, targets: Sequence[Sequence[float]]) -> list[str]:
        """The names of the stored pictures in which `picture` shows each of `targets`, in FILES.

        Raises pipelines.drawing.NothingTrained, and StoreError for a model that is no longer what it was.
        """
        from assets.editing.edited_samples import editor as trained
        from inference import asking, questions

        rows = [
            {
                "file_kind": picture.kind,
                "file": picture.file,
                "content_hash": picture.content_hash,
                "source": list(picture.aus),
                "target": [float(value) for value in target],
            }
            for target in targets
        ]
        with self._editing:
            found = editing.find(self.store, self.profile, editor)
            question = questions.edits(
                trained(self.store, self.profile, found.trained), self.store.files(FILES)
            )
            answers = asking.ask(self.store, question, pl.DataFrame(rows), chunk=len(rows))
        return answers.frame["file"].to_list()

    def call(self, editor: str, target: Sequence[float]) -> str:
        """What asks the same of a photograph: a line of the command."""
        words = ["fineface", "edit", "photo.jpg"]
        for au, value in zip(facs.ACTION_UNITS, target, strict=True):
            words += ["--au", f"AU{au}={value:g}"] if value else []
        words += ["--transform", "average", "--method", editor]
        return shlex.join([*words, "--profile", self._name, "--home", str(self.store.home)])
