"""pattgan: GANimation's generator under a critic that reads each action unit off a patch of its own, trained
on targets that are balanced over action units and levels (after "PAttGAN", Computer Graphics Forum 2021; from
the paper's description, no code of it was at hand).
"""

from methods.pattgan.settings import PAttGANTrain
from methods.registry import Method, register
from methods.wording import as_vectors
from settings.experiment import SampleSettings

register(
    Method(
        "pattgan", PAttGANTrain, SampleSettings, as_vectors, model="methods.pattgan.model:PAttGAN", edits=True
    )
)
