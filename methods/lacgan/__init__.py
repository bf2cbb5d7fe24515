"""lacgan: an action unit may change only the part of the face that it moves, joined by attention (after
"LAC-GAN: Local AU Controlled GAN", 2020; from the paper's description, no code of it was at hand).
"""

from methods.lacgan.settings import LACGANTrain
from methods.registry import Method, register
from methods.wording import as_vectors
from settings.experiment import SampleSettings

register(
    Method("lacgan", LACGANTrain, SampleSettings, as_vectors, model="methods.lacgan.model:LACGAN", edits=True)
)
