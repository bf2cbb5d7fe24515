"""What all pages share: the home, its profile, and what may be done to it. No page lives here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from app.editors import Editors
from app.samples import Overview
from app.studio import Studio
from app.thumbnails import Thumbnails
from settings.profile import Profile
from store import Store, file_system

PAGES = {"": "Create", "edit": "Edit", "audit": "Audit", "results": "Results", "data": "Data"}
"""The pages by the path at which they lie, in order."""
REPORT = "report.html"

Label = Callable[[str, str, str, str, str], None]
"""Writes what a person says: sample id, stage, what was said, author, reason."""


@dataclass(frozen=True)
class Site:
    """One home, looked at through one profile. `label` is called with what somebody says over a model;
    `author` is who that is where nobody says otherwise."""

    store: Store
    profile: Profile
    profile_name: str
    label: Label
    author: str

    @cached_property
    def overview(self) -> Overview:
        """All samples, as of the latest versions."""
        return Overview(self.store)

    @cached_property
    def thumbnails(self) -> Thumbnails:
        """Their pictures."""
        return Thumbnails(self.store)

    @cached_property
    def studio(self) -> Studio:
        """The trained models."""
        return Studio(self.store, self.profile, self.profile_name)

    @cached_property
    def editors(self) -> Editors:
        """The trained editors, and what they may be tried on."""
        return Editors(self.store, self.profile, self.profile_name)

    @property
    def report(self) -> Path | None:
        """The page that the last comparison wrote."""
        path = file_system.local(self.store.home / REPORT)
        return path if path.is_file() else None
