"""BLIP-2 through the package LAVIS, in an environment of its own: what decides an answer, and who gives it.

The model itself runs in `inference/environments/lavis_worker.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from inference import environments
from inference.environments import Worker, pins
from inference.needs import Need
from inference.weights import ModelNotFound, tree
from store.hashing import fingerprint

CODE_VERSION = "2"
PROMPT = "Question: {question} Answer:"
PRECISIONS = ("mixed", "float32")
SOURCES = (
    "the checkpoint of the model and eva_vit_g.pth from LAVIS' model zoo (BSD-3-Clause), and from the "
    "Hugging Face hub the folders bert-base-uncased (Apache-2.0) and the language model's, google/flan-t5-xl "
    "(Apache-2.0) or facebook/opt-2.7b (Meta's OPT licence: research, not commercial)"
)


class Lavis:
    """A BLIP-2 of LAVIS' model zoo, such as blip2_t5/pretrain_flant5xl, from files in the folder `weights`.

    precision: "mixed" as LAVIS runs it on a GPU (vision tower float16, FlanT5 bfloat16, OPT float16, the
    rest float32), or "float32". Nothing is downloaded.
    """

    def __init__(
        self,
        model: str,
        weights: str | os.PathLike,
        precision: str = "mixed",
        batch_size: int | None = None,
    ):
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
        self.model, self.precision, self.batch_size = model, precision, batch_size
        self.weights = weights

    @cached_property
    def folder(self) -> Path:
        """The folder of the weights. Raises ModelNotFound, saying what it holds and where that comes from."""
        folder = Path(self.weights).expanduser().resolve()
        if not folder.is_dir():
            raise ModelNotFound(
                f"the weights of {self.model} are looked for in {folder}, which is no folder. It holds "
                f"{SOURCES}"
            )
        return folder

    @property
    def name(self) -> str:
        """The model as tables name it."""
        return f"lavis {self.model}"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides an answer or a caption, the question aside. Starts nothing."""
        versions = pins("lavis")
        return fingerprint(
            kind="lavis",
            code=CODE_VERSION,
            package=versions["salesforce-lavis"],
            transformers=versions["transformers"],
            model=self.model,
            weights=tree(self.folder),
            precision=self.precision,
            template=PROMPT,
        )

    def needs(self) -> Iterator[Need]:
        """Its environment and the folder of its weights, whose files LAVIS' own worker checks."""
        yield environments.need("lavis")
        try:
            found = self.folder
        except ModelNotFound as error:
            yield Need(
                f"the weights of {self.model}", str(error), "docs/annotators.md, LAVIS: a table of the files"
            )
        else:
            yield Need(f"the weights of {self.model}, {found}")

    def worker(self, questions: Mapping[str, str] | None = None) -> Worker:
        """Who answers `questions` (name → wording) about pictures; without any, who describes pictures."""
        asked = questions and {name: PROMPT.format(question=text) for name, text in questions.items()}
        return Worker(
            "lavis",
            {
                "model": self.model,
                "weights": str(self.folder),
                "precision": self.precision,
                "batch_size": self.batch_size,
                "questions": asked,
            },
        )
