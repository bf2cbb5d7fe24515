"""A whole world in seconds: a hundred raw pictures, random models of the real classes, and their profile.

Nothing it measures means anything; every line of code that the paper's scale runs through is run.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import tiny_blip2
import tiny_diffusion
import torch
import yaml

from miniature import raw
from store import Store
from store.hashing import hash_frame

IMAGES, SUBJECTS, FRAMES = 90, ("SN001", "SN002"), 30
SIZE = 16
ESTIMATOR = "miniature.estimator:TinyEstimator"
PROJECT = Path(__file__).parents[1]


def write_models(folder: Path) -> Path:
    """blip2, base, clip, estimator and second_estimator in `folder`: tiny and random, but never silent (every
    face has AUs).
    """
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from miniature.conv_estimator import ConvEstimator

    torch.set_num_threads(1)
    tiny_blip2.save(folder / "blip2")
    tiny_diffusion.write_base(folder / "base")
    torch.manual_seed(3)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "base" / "tokenizer")
    text = CLIPTextConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=SIZE,
        patch_size=8,
    )
    clip = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=12)
    CLIPModel(clip).save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    crop = {"height": SIZE, "width": SIZE}
    CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size=crop).save_pretrained(folder / "clip")
    for name in ("estimator", "second_estimator"):
        net = ConvEstimator(image_size=SIZE, widths=(4, 6, 8, 8), squeeze=4, hidden=8)
        with torch.no_grad():
            net.head[-1].weight.mul_(4)
            net.head[-1].bias.fill_(0.5)
            net.head[-1].bias[-1] = 9
        net.save_pretrained(folder / name)
    return folder


def write_raw(folder: Path, images: int = IMAGES, frames: int = FRAMES) -> Path:
    """An AffectNet and a DISFA folder in `folder`."""
    raw.write_affectnet(folder / "affectnet", images=images)
    raw.write_disfa(folder / "disfa", subjects=SUBJECTS, frames=frames)
    return folder


def write_profile(path: Path, models: Path, raw_folder: Path, **changes) -> Path:
    """A profile at `path` on `models` and `raw_folder`; `changes` replace top-level sections."""
    blip2 = {"provider": "blip2", "model": str(models / "blip2"), "batch_size": 16}
    profile = {
        "raw": {"affectnet": str(raw_folder / "affectnet"), "disfa": str(raw_folder / "disfa")},
        "limits": {"quarantined": 0.5, "no_face": 0.5, "cut_faces": 0.5},
        "framing": {"affectnet": "centre", "disfa": "centre"},
        "chunk": 16,
        "resolution": {"min_side": 64},
        "photorealism": {
            **blip2,
            "questions": {"cartoon": "Is this a cartoon?", "real": "Is this photo real?"},
            "thresholds": {"cartoon": 1.0, "real": 0.0},
        },
        "au_estimator": {
            "provider": "miniature.estimator:TinyEstimator",
            "model": str(models / "estimator"),
            "batch_size": 16,
        },
        "second_au_estimator": {
            "provider": "miniature.estimator:TinyEstimator",
            "model": str(models / "second_estimator"),
            "batch_size": 16,
        },
        "corrections": {"recipe": "paper"},
        "disfa": {"no_au_share": 0.5, "seed": 0},
        "captions": blip2,
        "base": {"model": str(models / "base"), "size": SIZE, "batch_size": 16},
        "experiments": {
            "fineface": {
                "train": {
                    "method": "fineface",
                    "encoder": "res_mlp64",
                    "rank": 2,
                    "alpha": 2,
                    "steps": 12,
                    "batch_size": 4,
                    "learning_rate": 1e-3,
                    "checkpoint_every": 4,
                    "validate_every": 6,
                    "sample_every": 6,
                }
            },
            "sd": {"train": {"method": "sd"}},
        },
        "evaluation": {
            "judge": "second",
            "protocol": "miniature",
            "prompts": 1,
            "competitor": "sd",
            "guidance_candidates": [2, 4],
            "steps": 2,
            "scheduler": "ddim",
            "clip": str(models / "clip"),
            "batch_size": 16,
            "chunk": 16,
        },
    }
    path.write_text(yaml.safe_dump({**profile, **changes}), encoding="utf-8")
    return path


def write_small(
    folder: Path, models: Path, experiments: Sequence[str] = ("fineface", "sd"), **changes
) -> Path:
    """A world in `folder` that is smaller still, on `models`: its profile."""
    raw_folder = write_raw(folder / "raw", images=24, frames=8)
    path = write_profile(folder / "tiny.yaml", models, raw_folder, **changes)
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    profile["experiments"] = {name: profile["experiments"][name] for name in experiments}
    if profile["evaluation"]["competitor"] not in experiments:
        del profile["evaluation"]["competitor"]
    profile["evaluation"]["guidance_candidates"] = [2]
    path.write_text(yaml.safe_dump(profile), encoding="utf-8")
    return path


def start(profile: Path, home: Path, *options: str, log=None) -> subprocess.Popen:
    """`fineface run` as a process of its own, whose output goes to `log`."""
    command = [
        sys.executable,
        "-m",
        "pipelines.command",
        "run",
        "--profile",
        str(profile),
        "--home",
        str(home),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *options], cwd=PROJECT, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True
    )


def finished(process: subprocess.Popen) -> str:
    """What a run printed that ended well."""
    output, _ = process.communicate(timeout=1500)
    assert process.returncode == 0, output
    return output


def tables(home: Path) -> dict[str, str]:
    """Content hashes of all stage tables."""
    store = Store(home)
    return {stage: hash_frame(store.read(stage)) for stage in store.stages()}


def commits(home: Path, memo: str) -> int:
    """How often a memo was written to."""
    return len(list((home / "memo" / memo / "_delta_log").glob("0*.json")))
