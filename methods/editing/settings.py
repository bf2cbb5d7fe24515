"""The settings that every adversarially trained editing method has. No torch here."""

from pydantic import Field, field_validator

from settings.experiment import LoopSettings, TrainSettings


class EditSettings(TrainSettings):
    """What every editor says."""

    size: int = Field(128, ge=16, description="Side of the pictures that are edited, pixels.")


class AdversarialSettings(EditSettings, LoopSettings):
    """A generator that edits pictures, and a critic that judges whether they look real and which action units
    they show; defaults are of the published 128 px."""

    steps: int = Field(500_000, ge=1, description="Steps of the critic.")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's, of both nets, before it falls.")
    size: int = Field(128, description="Side of the pictures that are edited, pixels: a power of 2 from 32.")
    channels: int = Field(64, ge=2, description="Width of both nets at the full size; doubled as it halves.")
    decay_from: float = Field(
        0.6, ge=0, le=1, description="Share of the steps after which the learning rate falls linearly to 0."
    )
    generator_every: int = Field(5, ge=1, description="The generator takes every so many steps one.")
    padding: int = Field(8, ge=0, description="Pixels by which a picture is shifted at most, each way.")
    au_weight: float = Field(150, ge=0, description="Of the error of the action units that the critic reads.")
    cycle_weight: float = Field(30, ge=0, description="Of what there and back changes (L1).")
    total_variation_weight: float = Field(1e-5, ge=0, description="Of the sum of neighbours' differences.")
    penalty_weight: float = Field(10, ge=0, description="Of the critic's gradient penalty.")

    @field_validator("size")
    @classmethod
    def _halves(cls, size: int) -> int:
        if size < 32 or size & (size - 1):
            raise ValueError(f"a power of 2 from 32 on is wanted, not {size}: the critic halves it down to 2")
        return size

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of step `step` (from 0)."""
        steady = self.decay_from * self.steps
        if step < steady:
            return self.learning_rate
        return self.learning_rate * (self.steps - step) / (self.steps - steady)

    def updates_generator(self, step: int) -> bool:
        """Whether the generator takes a step after the critic's `step` (from 0)."""
        return (step + 1) % self.generator_every == 0
