"""What the training is measured beside (`benchmarks.plain_training`) trains the same model."""

import polars as pl
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from tiny_adapter import predict, shuffled
from tiny_diffusion import write_base
from tiny_training import write_dataset

from benchmarks import plain_training
from inference import adapter
from methods.fineface.settings import FineFaceTrain


@pytest.fixture(autouse=True)
def own_accelerator():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_attention_written_out_says_what_the_fused_one_does():
    unet, aus = shuffled(), torch.rand(2, 12, generator=torch.Generator().manual_seed(1)) * 5
    fused = predict(unet, aus)
    parameters = adapter.trainable_parameters(unet)
    plain_training.write_attention_out(unet)
    assert not any("2_0" in type(one).__name__ for one in unet.attn_processors.values())
    torch.testing.assert_close(predict(unet, aus), fused, atol=1e-4, rtol=1e-4)
    assert adapter.trainable_parameters(unet).keys() == parameters.keys()


@pytest.mark.parametrize(("fused", "precision"), [(False, "no"), (True, "bf16")])
def test_it_trains_from_picture_files_until_it_is_told(tmp_path, fused, precision):
    write_base(tmp_path / "base")
    table = pl.read_parquet(write_dataset(tmp_path / "data") / "samples.parquet").head(6)
    names = [str(tmp_path / f"{row}.png") for row in range(6)]
    for row, name in enumerate(names):
        Image.new("RGB", (16, 16), (40 * row, 100, 100)).save(name)
    steps, settings = [], FineFaceTrain(rank=2, alpha=2, batch_size=4)
    options = plain_training.Options(
        fused=fused, checkpointing=not fused, workers=0, mixed_precision=precision, cpu=True
    )

    def third() -> bool:
        steps.append(1)
        return len(steps) == 3

    plain_training.train(
        tmp_path / "base", table.with_columns(picture=pl.Series(names)), settings, options, third
    )
    assert len(steps) == 3
