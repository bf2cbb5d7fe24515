"""Every method that trains: some steps move what they should; what is saved loads to the same answers."""

import polars as pl
import pytest
import torch
from accelerate.state import AcceleratorState
from diffusers import DDPMScheduler
from pydantic import ValidationError
from tiny_diffusion import make_unet
from tiny_training import make_job, write_home

import facs
from inference import text_token
from inference.adapter import AdapterError
from inference.pipeline import FineFacePipeline
from methods import registry
from methods.db import DBTrain
from methods.fineface.settings import FineFaceSample
from methods.model import Batch
from methods.sd import SDTrain
from training import loop
from training.job import CLASS_IMAGES_FILE

SMILE = facs.parse({"AU12": 4, "AU6": 3})
TRAINED = {
    "fineface": {"rank": 2, "alpha": 2.0},
    "lora_t": {"rank": 2, "alpha": 2.0},
    "lora_au": {"rank": 2, "alpha": 2.0},
    "db": {"class_images": {"count": 6}, "learning_rate": 1e-4},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A base, a training set, and class images beside it."""
    folder = write_home(tmp_path_factory.mktemp("methods"))
    samples = pl.read_parquet(folder / "data" / "samples.parquet").head(6)
    plain = samples.with_columns(pl.lit(0.0).alias(column) for column in facs.COLUMNS)
    plain.write_parquet(folder / "data" / CLASS_IMAGES_FILE)
    return folder


@pytest.fixture(autouse=True)
def own_accelerator():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def job_of(home, method):
    train = {"method": method, "steps": 2, "batch_size": 4, "sample_every": 2, "validate_every": 0}
    job = make_job(home / "base", home / "data", home / method)
    return type(job).model_validate(job.model_dump() | {"train": train | TRAINED[method]})


def picture(pipe, settings, vector):
    """The latents of one prompt, asked for as the method words it."""
    asked = registry.wording(settings)(["a"], [vector])
    return pipe(
        asked.prompts,
        aus=asked.aus,
        num_inference_steps=2,
        guidance_scale=3.0,
        height=16,
        width=16,
        generator=torch.Generator().manual_seed(1),
        output_type="latent",
    ).images


@pytest.mark.parametrize("method", TRAINED)
def test_what_is_trained_is_saved_and_loads_to_the_same_answers(home, method, monkeypatch):
    """The pipeline that was trained and the one that loads the files draw the same to the last bit."""
    job, kept = job_of(home, method), []
    model = type(registry.get(method).trained_model(job.train))
    save = model.save
    monkeypatch.setattr(model, "save", lambda self, pipe, *more: (kept.append(pipe), save(self, pipe, *more)))
    loop.train(job)
    (trained,) = kept
    trained.unet.eval()
    fresh = FineFacePipeline.from_pretrained(home / "base")
    untouched = picture(fresh, SDTrain(), facs.parse({}))
    registry.load(fresh, job.train, home / method / "model")
    for pipe in (trained, fresh):
        pipe.set_progress_bar_config(disable=True)
    neutral, smiling = (picture(fresh, job.train, vector) for vector in (facs.parse({}), SMILE))
    assert torch.equal(smiling, picture(trained, job.train, SMILE))
    assert not torch.equal(neutral, untouched) and not torch.equal(neutral, smiling)
    assert not any(parameter.requires_grad for parameter in fresh.unet.parameters())
    assert (home / method / "samples" / "step-00000002.png").is_file()


@pytest.mark.parametrize("method", ["lora_t", "lora_au", "db"])
def test_a_model_of_another_base_is_refused(home, method):
    if not (home / method / "model").is_dir():
        loop.train(job_of(home, method))
    pipe = FineFacePipeline.from_pretrained(home / "base")
    pipe.unet = make_unet(width=80)
    with pytest.raises(AdapterError, match="do not fit"):
        registry.load(pipe, job_of(home, method).train, home / method / "model")


def test_the_token_stands_after_the_text():
    unet = make_unet()
    text_token.install(unet)
    texts, aus = torch.randn(2, 5, 96), torch.rand(2, 1, 12)
    joined = unet.encoder_hid_proj(texts, [aus])
    assert torch.equal(joined[:, :5], texts) and joined.shape == (2, 6, 96)
    weights = unet.encoder_hid_proj.encoder.mlp
    torch.testing.assert_close(joined[:, 5], aus[:, 0] @ weights.weight.T + weights.bias)
    with pytest.raises(AdapterError, match="projects its text by TextToken"):
        text_token.install(unet)


def test_the_prior_counts_with_its_weight():
    """The loss of DreamBooth is the sum of both halves, the class images' times the weight."""
    generator = torch.Generator().manual_seed(0)

    def batch(**more):
        latents, noise = torch.randn(2, 3, 4, 8, 8, generator=generator)
        steps, text = torch.tensor([10, 500, 900]), torch.randn(3, 5, 96, generator=generator)
        return Batch(latents, noise, steps, text, torch.zeros(3, 12), **more)

    unet, noising = make_unet(), DDPMScheduler(prediction_type="v_prediction")
    beside = batch()
    instance = batch(beside=beside)
    heavy, light, none = (
        registry.get("db").trained_model(DBTrain(prior_weight=weight)).loss(unet, noising, instance).item()
        for weight in (2.0, 1.0, 0.0)
    )
    plain = registry.get("lora_t").trained_model(registry.get("lora_t").train())
    assert none == pytest.approx(plain.loss(unet, noising, instance).item())
    assert light - none == pytest.approx(plain.loss(unet, noising, beside).item(), rel=1e-5)
    assert heavy - none == pytest.approx(2 * (light - none), rel=1e-5)
    parts = instance.parts(2)
    assert [len(part.beside.latents) for part in parts] == [2, 1]
    assert DBTrain(prior_weight=0).drawn_before is None


def test_words_say_what_vectors_do():
    prompts, vectors = ["a man", "a woman"], [SMILE, facs.parse({})]
    for method in ("sd", "lora_t", "db"):
        train = registry.get(method).train
        named = registry.wording(train())(prompts, vectors)
        assert named == (["a man, lip corner puller 4, cheek raiser 3", "a woman"], None)
        said = registry.wording(train(wording="sentence"))(prompts, vectors)
        assert said.prompts[0] == (
            "a man, the corners of the lips are pulled up in a smile severely, "
            "the cheeks are raised and the eyes narrowed markedly"
        )
        assert said.prompts[1] == "a woman" and said.aus is None
    asked = registry.wording(registry.get("lora_au").train())(prompts, vectors)
    assert asked == (prompts, [list(SMILE), [0.0] * 12])


def test_guidance_of_the_text_apart_is_checked_and_handed_on():
    plain, apart = FineFaceSample(guidance=5), FineFaceSample(guidance=5, text_guidance=2)
    assert plain.arguments == {"au_scale": 1.0}, "pictures drawn so far keep their key"
    assert apart.arguments == {"au_scale": 1.0, "text_guidance_scale": 2.0}
    assert (plain.text_guidance_at(5), apart.text_guidance_at(5)) == (5, 2)
    for wrong, message in [
        ({"guidance": 1, "text_guidance": 2}, "guidance, that of the AUs, is 1, not above 1"),
        ({"text_guidance": 0.5}, "greater than or equal to 1"),
    ]:
        with pytest.raises(ValidationError, match=message):
            FineFaceSample(**wrong)
    assert FineFaceSample(text_guidance=5).refuses(1) and FineFaceSample(text_guidance=5).refuses(3) is None
    assert FineFaceSample().refuses(1) is None
