"""slidergan: the change of blendshapes as the condition, a relativistic critic (after Ververas and Zafeiriou,
"SliderGAN", IJCV 2020; from the paper's description, no code of it was at hand).
"""

from methods.registry import Method, register
from methods.slidergan.settings import SliderGANTrain
from methods.wording import as_vectors
from settings.experiment import SampleSettings

register(
    Method(
        "slidergan",
        SliderGANTrain,
        SampleSettings,
        as_vectors,
        model="methods.slidergan.model:SliderGAN",
        edits=True,
    )
)
