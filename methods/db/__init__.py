"""db: the whole UNet trained, the AUs written into the captions, its prior preserved (paper, Table 1: DB)."""

from typing import Literal

from pydantic import Field

from methods.registry import Method, register
from methods.wording import Worded, as_words
from settings.experiment import ClassImages, DenoisingSettings, SampleSettings


class DBTrain(Worded, DenoisingSettings):
    """DreamBooth (Ruiz et al., arXiv 2208.12242): all weights of the UNet, on the training set and, beside
    it, on pictures of the untouched base; AUs are words of the caption (paper, Table 1: DB)."""

    method: Literal["db"] = Field("db", description="All weights of the UNet, the AUs as text.")
    learning_rate: float = Field(
        5e-6, gt=0, description="AdamW's, after the warm-up; default: diffusers' for DreamBooth."
    )
    prior_weight: float = Field(1.0, ge=0, description="Weight of the loss on the class images.")
    class_images: ClassImages = ClassImages()

    @property
    def drawn_before(self) -> ClassImages | None:
        """The class images; none where they would not count."""
        return self.class_images if self.prior_weight else None


register(Method("db", DBTrain, SampleSettings, as_words, model="methods.db.model:DB"))
