"""The settings of `fineface_edit`. No torch here."""

from typing import Literal

from pydantic import Field

from methods.editing.settings import EditSettings


class FineFaceEditTrain(EditSettings):
    """Edits by the adapter of an experiment: DDIM inversion, then sampling with the target's action units."""

    method: Literal["fineface_edit"] = Field(
        "fineface_edit", description="An experiment's adapter on the inverted picture; nothing is trained."
    )
    experiment: str = Field("fineface", description="The experiment whose trained model edits.")
    size: int = Field(512, ge=16, description="Side of the pictures that are edited, pixels: the base's.")
    prompt: str = Field("a close-up of a person", description="What the picture is said to show.")
    steps: int = Field(50, ge=2, description="DDIM steps that the whole diffusion has.")
    depth: float = Field(
        0.6, gt=0, le=1, description="Share of them that the picture is inverted through; more changes more."
    )
    guidance: float = Field(
        3.0, ge=0, description="What the difference that the action units make to a step is multiplied with."
    )
    reach: float = Field(
        1.1, gt=0, description="Size of what may change, in sizes of the face that MediaPipe outlines."
    )

    @property
    def adapter(self) -> str:
        """The experiment whose trained model edits."""
        return self.experiment
