"""`annotators.py lavis`, run by the python of the environment `lavis`: what it measured, as JSON.

The plain loop is LAVIS' own: decode a picture, ask `predict_answers` each question, one after the other.
"""

import json
import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "inference" / "environments"), str(PROJECT), str(PROJECT / "benchmarks")]


def main() -> None:
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # LAVIS prints
    options = json.loads(sys.stdin.read())
    import annotators
    import lavis_worker

    prompts = options["questions"]
    model = lavis_worker.Blip2(options["model"], Path(options["weights"]), options["precision"])
    model.name, model.batch_size = options["model"], options["batch_size"]

    def plainly(picture) -> None:
        pixels = model.prepare(picture)
        for prompt in prompts.values():
            samples = {"image": pixels[None].to(model.device), "text_input": [prompt]}
            model.net.predict_answers(samples)

    def ask(batch: list) -> list:
        return model.answers(batch, prompts)

    said.write(json.dumps(annotators.compare(model, ask, options["paths"], options["rounds"], plainly)))
    said.close()


if __name__ == "__main__":
    main()
