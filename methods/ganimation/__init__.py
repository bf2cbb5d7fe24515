"""ganimation: action units as the condition, an attention mask over the picture (Pumarola et al.,
"GANimation: Anatomically-aware Facial Animation from a Single Image", ECCV 2018).
"""

from methods.ganimation.settings import GANimationTrain
from methods.registry import Method, register
from methods.wording import as_vectors
from settings.experiment import SampleSettings

register(
    Method(
        "ganimation",
        GANimationTrain,
        SampleSettings,
        as_vectors,
        model="methods.ganimation.model:GANimation",
        edits=True,
    )
)
