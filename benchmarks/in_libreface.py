"""`annotators.py libreface`, run by the python of the environment `libreface`: what it measured, as JSON.

The plain loop is the package's own: align a picture, read its action units, one after the other. `kept` is
the same with the network loaded once.
"""

import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "inference" / "environments"), str(PROJECT), str(PROJECT / "benchmarks")]


def main() -> None:
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # MediaPipe prints
    options = json.loads(sys.stdin.read())
    import annotators
    import libreface_worker

    from inference import images

    model = libreface_worker.LibreFace(
        str(Path(options["weights"], "AU_Recognition", "weights", "resnet.pt"))
    )
    from libreface.AU_Recognition.inference import get_au_intensities_video

    found = importlib.util.find_spec("libreface.detect_mediapipe_image")
    genuine = importlib.util.module_from_spec(found)  # a second copy, which ours has not mended
    found.loader.exec_module(genuine)

    size = options["batch_size"]
    seen = images.read_ahead(options["paths"], lambda batch: batch, size, model.align)
    prepared = dict(zip(options["paths"], seen, strict=True))
    # The package's own loop breaks at all others.
    aligned = {path: one for path, one in prepared.items() if isinstance(one, dict) and one["faces"] == 1}
    paths = [path for path, one in aligned.items() if "pixels" in one]
    if not paths:
        said.write(json.dumps({"unavailable": "--folder has to name photographs of one face each"}))
        return

    def plain() -> None:
        for path in paths:
            with tempfile.TemporaryDirectory() as scratch:
                face, _, _ = genuine.get_aligned_image(path, temp_dir=scratch)
                get_au_intensities_video(
                    [face],
                    device=str(model.device),
                    num_workers=0,
                    weights_download_dir=options["weights"],
                )

    def kept() -> None:
        for path in paths:
            with tempfile.TemporaryDirectory() as scratch:
                face, _, _ = genuine.get_aligned_image(path, temp_dir=scratch)
                model.head.image_inference(model.head.transform_image_inference(face))

    def ours() -> None:
        for _ in images.read_ahead(paths, model.read, size, model.align):
            pass

    def alignment() -> None:
        for _ in images.read_ahead(paths, lambda batch: batch, size, model.align):
            pass

    def network() -> None:
        for start in range(0, len(aligned), size):
            model.read([dict(aligned[path]) for path in paths[start : start + size]])

    ways = {"plain": plain, "kept": kept, "ours": ours, "decode": alignment, "model": network}
    rates = annotators.in_turns(ways, len(paths), options["rounds"])
    measured = {
        "pictures": len(paths),
        "batch_size": size,
        **rates,
        "ratio": rates["ours_rate"] / rates["plain_rate"],
        "ratio_to_kept": rates["ours_rate"] / rates["kept_rate"],
        "bound_by": "alignment" if rates["decode_rate"] < rates["model_rate"] else "model",
    }
    said.write(json.dumps(measured))
    said.close()


if __name__ == "__main__":
    main()
