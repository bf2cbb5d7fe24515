"""The pictures that an editing method is trained on, read a batch at a time.

A table as of `training.samples`, whose `file` is a picture's path (absolute, or relative to the table's
folder), maybe with the part of it that is seen. Randomness is drawn from (seed, step) alone, so that step k
is the same step whatever came before it and however many processes share it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import pad

from inference import images
from methods.editing.model import Faces
from methods.editing.settings import AdversarialSettings
from picture_files import ImageError
from training.job import JobError
from training.samples import Samples, seed_of

MEMORY = 2**31
"""Bytes of decoded pictures that are kept."""
HELD_OUT_SAMPLES = 64


class Pictures(Samples):
    """The pictures of the table at `path`, of which `batch` draws those of a step as `settings` say.

    A picture's target is what another picture, drawn at random, shows; `weigh` may say of all vectors [N, 12]
    how often each is drawn, [N], None for equally often. Raises JobError for samples as
    `Samples` does, and, when they are drawn, for pictures that cannot be read.
    """

    def __init__(
        self,
        path: Path,
        settings: AdversarialSettings,
        weigh: Callable[[torch.Tensor], torch.Tensor | None] = lambda aus: None,
    ):
        super().__init__(path, settings)
        self._weights = weigh(self.aus)
        self.settings = settings
        self._paths = [str(path.parent / name) for name in self.table["file"]]
        self._kept: dict[int, torch.Tensor] = {}
        self._workers = ThreadPoolExecutor(images.WORKERS, thread_name_prefix="decode")

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Faces:
        """Every `world`-th sample of step `step`, from the `rank`-th on: mirrored or not, and shifted."""
        size, width = self.settings.batch_size, self.aus.shape[1]
        generator = torch.Generator().manual_seed(seed_of(self.settings.seed, "step", step))
        if self._weights is None:
            targets = torch.randint(len(self), (size,), generator=generator)
        else:
            targets = torch.multinomial(self._weights, size, replacement=True, generator=generator)
        mirrored = torch.rand(size, generator=generator) < 0.5
        shifts = torch.randint(2 * self.settings.padding + 1, (size, 2), generator=generator)
        jitter = torch.rand(size, 2, width, generator=generator) * 2 - 1
        mix = torch.rand(size, generator=generator)
        mine = slice(rank, None, world)
        samples = self.samples(step)[mine]
        seen = zip(self.opened(samples.tolist()), mirrored[mine].tolist(), shifts[mine].tolist(), strict=True)
        pictures = torch.stack([_shifted(*one, self.settings.padding) for one in seen])
        return Faces(pictures, self.aus[samples], self.aus[targets[mine]], jitter[mine], mix[mine])

    def held_out(self, rank: int = 0, world: int = 1, most: int = HELD_OUT_SAMPLES) -> list[Faces]:
        """Every `world`-th of at most `most` samples, from the `rank`-th on, in a process's batches.

        Always the same, as they are, each with the AUs of the next one as its target.
        """
        generator = torch.Generator().manual_seed(seed_of("held out"))
        samples, parts = self.held_out_parts(generator, rank, world, most)
        targets = samples.roll(-1)
        nothing = torch.zeros(len(samples), 2, self.aus.shape[1]), torch.zeros(len(samples))
        return [
            Faces(
                torch.stack(self.opened(samples[part].tolist())),
                self.aus[samples[part]],
                self.aus[targets[part]],
                *(one[part] for one in nothing),
            )
            for part in parts
        ]

    def opened(self, samples: Sequence[int]) -> list[torch.Tensor]:
        """The pictures of these samples, each [3, size, size] in -1…1."""
        return [pixels.float() / 127.5 - 1 for pixels in self._workers.map(self._pixels, samples)]

    def _pixels(self, sample: int) -> torch.Tensor:
        known = self._kept.get(sample)
        if known is None:
            try:
                picture = images.load(self._paths[sample], size=self.settings.size)
            except ImageError as error:
                raise JobError(f"{self.sample_ids[sample]}: {error}") from error
            known = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).contiguous()
            if len(self._kept) * known.nbytes < MEMORY:
                self._kept[sample] = known
        return known


def _shifted(picture: torch.Tensor, mirrored: bool, shift: Sequence[int], padding: int) -> torch.Tensor:
    """`picture`, maybe mirrored, padded by its edges and cut out again at `shift`, down and across."""
    turned = picture.flip(2) if mirrored else picture
    size = picture.shape[-1]
    padded = pad(turned[None], [padding] * 4, mode="replicate")[0]
    down, across = shift
    return padded[:, down : down + size, across : across + size]
