"""What a profile says of the work that a home does by itself, which is off until somebody switches it on.

What that work is lives in `pipelines.automation`.
"""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from settings.base import Settings

CRON = r"^[\d*,/-]+( [\d*,/A-Za-z-]+){4}$"
"""Minute, hour, day of the month, month, day of the week; Dagster reads the numbers."""


class Failure(Settings):
    """Who else is told of a run that failed, besides the log."""

    command: list[str] | None = Field(
        None,
        min_length=1,
        description="A program and its arguments, no shell; it reads what happened as JSON from its standard "
        "input. null: none.",
    )
    webhook: str | None = Field(
        None, pattern=r"^https?://\S+$", description="An address that gets it as a JSON POST; null: none."
    )


class Automation(Settings):
    """What a home does by itself, once it is switched on (`fineface schedule on`, or in the UI)."""

    look_every: int = Field(
        30,
        ge=10,
        description="Seconds between two looks at the raw folders. Files that are equal in both are whole.",
    )
    reach: Literal["data_set", "results"] = Field(
        "results", description="How far new data goes: to the training set's latents, or on to new results."
    )
    nightly: str = Field("0 3 * * *", pattern=CRON, description="When the data set is made, as cron says it.")
    weekly: str = Field(
        "0 4 * * 6", pattern=CRON, description="When models are trained whose training set has changed."
    )
    time_zone: str = Field("UTC", description="Of nightly and weekly, such as Europe/Berlin.")
    late_after: int = Field(
        36,
        ge=1,
        description="Hours after which a stage of the data set that nobody made again shows as late.",
    )
    on_failure: Failure = Failure()

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError
            raise ValueError(f"no time zone {value!r}") from error
        except KeyError as error:
            raise ValueError(f"no time zone {value!r}; Europe/Berlin, UTC and the like") from error
        return value
