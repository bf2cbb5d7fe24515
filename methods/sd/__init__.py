"""sd: the untouched base, the AUs written into the prompt (paper, Table 1: SD). Nothing is trained."""

from typing import Literal

from pydantic import Field

from methods.registry import Method, register
from methods.wording import Worded, as_words
from settings.experiment import SampleSettings


class SDTrain(Worded):
    """The untouched base, the AUs written into its prompt (paper, Table 1: SD)."""

    method: Literal["sd"] = Field("sd", description="The untouched base.")


register(Method("sd", SDTrain, SampleSettings, as_words))
