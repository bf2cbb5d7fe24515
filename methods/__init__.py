"""The methods: a folder each, with what it needs to be trained and drawn with. Importing this registers them.

A method is one folder (settings, wording of requests, installation, loss, save, load) and one `register`
call. Nothing outside asks which method it is.
"""

from methods import (
    db,
    fineface,
    fineface_edit,
    ganimation,
    lacgan,
    lora_au,
    lora_t,
    pattgan,
    relative_msf,
    sd,
    slidergan,
    unedited,
)

__all__ = [
    "db",
    "fineface",
    "fineface_edit",
    "ganimation",
    "lacgan",
    "lora_au",
    "lora_t",
    "pattgan",
    "relative_msf",
    "sd",
    "slidergan",
    "unedited",
]
