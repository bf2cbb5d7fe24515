"""The miniature's AU estimators: one reads rendered faces as LibreFace reads real ones, bias included, and a
second one without that bias.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from facs import ACTION_UNITS, MAXIMUM
from miniature.conv_estimator import ConvEstimator
from miniature.train.progress import Descent
from miniature.train.world import Pictures, as_tensor, faceless

OVERREAD, UNDERREAD = (1, 4), (15, 17, 20)
"""AUs that LibreFace reads too high or too low; the paper's exponents 1.8 and 0.8 undo it (supplement)."""
_BATCH, _NON_FACES = 64, 5


def reading(intensities: np.ndarray) -> np.ndarray:
    """The reading to learn for true intensities [N, 12] in 0-5: true^(1/1.8) or true^(1/0.8), rescaled."""
    exponents = np.ones(len(ACTION_UNITS), np.float32)
    for position, unit in enumerate(ACTION_UNITS):
        if unit in OVERREAD:
            exponents[position] = 1 / 1.8
        elif unit in UNDERREAD:
            exponents[position] = 1 / 0.8
    return MAXIMUM * (intensities / MAXIMUM) ** exponents


def train(
    faces: Pictures,
    folder: Path,
    work: Path,
    steps: int = 3000,
    seed: int = 0,
    biased: bool = True,
    **architecture: Any,
) -> None:
    """Train on `faces` (and on pictures without one) and save the network to `folder`.

    `biased` says whether it learns `reading` or the truth; `architecture` is that of the ConvEstimator. Half
    of the pictures are blurred or noisy, because generated ones will be read too.
    """
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    images = np.concatenate([faces.images, faceless(len(faces) // 10, seed, faces.images[:2000])])
    targets = torch.from_numpy(reading(faces.intensities) if biased else faces.intensities)
    network = ConvEstimator(**architecture)
    checkpoint = work / f"{folder.name}.pt"
    descent = Descent(checkpoint, steps, network, network.parameters(), 3e-3, warm_up=0.3, weight_decay=0.02)
    is_face = (torch.arange(_BATCH) >= _NON_FACES).float()
    for step in descent:
        rng = torch.Generator().manual_seed(seed * 1_000_003 + step)
        torch.manual_seed(seed * 1_000_003 + step)
        shown = torch.randint(len(faces), (_BATCH - _NON_FACES,), generator=rng)
        others = len(faces) + torch.randint(len(images) - len(faces), (_NON_FACES,), generator=rng)
        pixels = _worn(as_tensor(images[torch.cat([others, shown]).numpy()]), rng)
        answer = network(pixels)
        error = functional.mse_loss(answer[_NON_FACES:, :-1], targets[shown])
        loss = error + 0.1 * functional.binary_cross_entropy_with_logits(answer[:, -1], is_face)
        descent.descend(loss)
    network.eval().save_pretrained(folder)


def _worn(pixels, rng):
    import torch
    from torch.nn import functional

    kind = torch.rand((), generator=rng).item()
    if kind < 0.35:
        side = int(torch.randint(28, 60, (), generator=rng))
        small = functional.interpolate(
            pixels, size=side, mode="bilinear", antialias=True, align_corners=False
        )
        return functional.interpolate(small, size=64, mode="bilinear", align_corners=False)
    if kind < 0.6:
        strength = torch.rand(len(pixels), 1, 1, 1, generator=rng) * 0.08
        return pixels + torch.randn(pixels.shape, generator=rng) * strength
    return pixels


def correlations(folder: Path, faces: Pictures) -> dict[int, float]:
    """Pearson correlation of reading and truth on `faces`, an AU."""
    network = ConvEstimator.from_pretrained(folder)
    read = np.concatenate(
        [
            network.predict(as_tensor(faces.images[start : start + 250]))[0]
            for start in range(0, len(faces), 250)
        ]
    )
    return {
        unit: float(np.corrcoef(read[:, position], faces.intensities[:, position])[0, 1])
        for position, unit in enumerate(ACTION_UNITS)
    }
