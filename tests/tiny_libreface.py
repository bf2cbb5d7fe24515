"""LibreFace's own package, run by its own environment's python: random weights in the genuine layout, and
what the package itself says. No test lives here.

    python tiny_libreface.py weights FOLDER
    python tiny_libreface.py read FOLDER PICTURE …      (JSON: intensities and head pose of each)
"""

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace


def package():
    """Without the download of ImageNet weights, and with the filter that newer Pillow calls LANCZOS."""
    import PIL.Image
    import torchvision

    plain = torchvision.models.resnet18
    torchvision.models.resnet18 = lambda **_: plain(weights=None)
    PIL.Image.ANTIALIAS = PIL.Image.Resampling.LANCZOS


def weights(folder):
    import torch
    from libreface.AU_Recognition.models.resnet18 import ResNet18

    torch.manual_seed(0)
    net = ResNet18(SimpleNamespace(fm_distillation=False, dropout=0.1, num_labels=12))
    net.classifier[4].weight.data *= 20  # far from a half, and different from face to face
    path = Path(folder) / "AU_Recognition" / "weights" / "resnet.pt"
    path.parent.mkdir(parents=True)
    torch.save({"model": net.state_dict()}, path)


def read(folder, *pictures):
    import libreface

    aligned, poses = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for number, picture in enumerate(pictures):
            path, pose, _ = libreface.get_aligned_image(picture, temp_dir=f"{scratch}/{number}")
            aligned.append(path)
            poses.append([pose["pitch"], pose["yaw"], pose["roll"]])
        values = libreface.get_au_intensities_video(
            aligned, device="cpu", batch_size=len(aligned), num_workers=0, weights_download_dir=folder
        )
    columns = {name: f"au{name.split('_')[1]}" for name in values.columns}
    print(json.dumps({"values": values.rename(columns=columns).to_dict("records"), "poses": poses}))


if __name__ == "__main__":
    package()
    {"weights": weights, "read": read}[sys.argv[1]](*sys.argv[2:])
