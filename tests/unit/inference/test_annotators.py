"""The AU estimators, CLIP and the autoencoder: order, batches, ranges, fingerprints, bad input."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from facs import ACTION_UNITS
from inference import abilities, images, mediapipe
from inference.autoencoder import Autoencoder
from inference.clip import Clip
from miniature.conv_estimator import ConvEstimator
from miniature.estimator import TinyEstimator

ESTIMATOR = "miniature.estimator:TinyEstimator"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads cost more than they give on models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _pictures(count, size=16, seed=0):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)) for _ in range(count)]


# --- the small network


@pytest.fixture
def estimator_folder(tmp_path):
    """A random 16 px estimator."""
    torch.manual_seed(0)
    net = ConvEstimator(image_size=16, widths=(4, 6, 8, 8), squeeze=4, hidden=8)
    net(torch.randn(32, 3, 16, 16))  # batch norm sees some data
    net.save_pretrained(tmp_path / "estimator")
    return tmp_path / "estimator"


def test_a_saved_network_reloads_exactly(estimator_folder):
    one, other = (
        ConvEstimator.from_pretrained(estimator_folder),
        ConvEstimator.from_pretrained(estimator_folder),
    )
    x = torch.rand(3, 3, 16, 16) * 2 - 1
    assert not one.training and torch.equal(one(x), other(x)) and one(x).shape == (3, 13)


def test_the_network_is_small_and_its_intensities_stay_in_range():
    net = ConvEstimator().eval()
    assert 300_000 < sum(parameter.numel() for parameter in net.parameters()) < 500_000
    net.head[-1].weight.data.mul_(1e3)
    values, face = net.predict(torch.randn(8, 3, 64, 64))
    assert values.shape == (8, 12) and face.shape == (8,) and face.dtype is torch.bool
    assert values.min() == 0 and values.max() == 5


def test_the_network_learns(estimator_folder):
    """A bright picture is AU12 = 4, a dark one AU4 = 4: a few steps tell them apart."""
    torch.manual_seed(0)
    net = ConvEstimator(image_size=16, widths=(4, 6, 8, 8), squeeze=4, hidden=8, dropout=0.0)
    bright = torch.arange(16) % 2
    x = torch.randn(16, 3, 16, 16) * 0.1 + (bright.float() * 1.2 - 0.6)[:, None, None, None]
    y = torch.zeros(16, 12)
    y[bright == 1, 6], y[bright == 0, 2] = 4.0, 4.0
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(x)[:, :12], y).backward()
        optimizer.step()
    values, _ = net.eval().predict(x)
    assert (values - y).abs().mean() < 0.3


@pytest.mark.parametrize("change", [{"architecture": "ResNet"}, {"action_units": [1, 2]}, {"depth": 3}])
def test_a_folder_with_something_else_is_refused(estimator_folder, change):
    import json

    config = json.loads((estimator_folder / "config.json").read_text())
    (estimator_folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ValueError, match=r"ResNet|\[1, 2\]|depth"):
        ConvEstimator.from_pretrained(estimator_folder)


def test_readings_follow_the_network_in_order_and_over_batches(estimator_folder):
    net = ConvEstimator.from_pretrained(estimator_folder)
    pictures = _pictures(7)
    x = torch.from_numpy(images.as_array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    values, faces = net.predict(x)
    estimator = abilities.build(
        "action_units",
        {
            "provider": "miniature.estimator:TinyEstimator",
            "model": estimator_folder,
            "batch_size": 3,
            "device": "cpu",
        },
    )
    readings = estimator.estimate(pictures)
    assert estimator.calls == 7 and estimator.supported == ACTION_UNITS
    for reading, expected, face in zip(readings, values, faces, strict=True):
        if face:
            assert reading.intensities == pytest.approx(expected.tolist(), abs=1e-4)
            assert (reading.faces, reading.reason_code) == (1, None)
        else:
            assert reading == abilities.unmeasured("no_face")


@pytest.mark.parametrize("bias, faces, reason", [(50.0, 1, None), (-50.0, 0, "no_face")])
def test_the_face_logit_decides_on_no_face(estimator_folder, bias, faces, reason):
    net = ConvEstimator.from_pretrained(estimator_folder)
    net.head[-1].bias.data[-1] = bias
    net.save_pretrained(estimator_folder)
    for reading in TinyEstimator(estimator_folder, device="cpu").estimate(_pictures(2)):
        assert (reading.faces, reading.reason_code) == (faces, reason)
        assert (None in reading.intensities) == (faces == 0)


def test_a_picture_of_another_size_is_squashed(estimator_folder):
    estimator = TinyEstimator(estimator_folder, device="cpu")
    wide = _pictures(1, size=40)[0].resize((80, 40))
    assert estimator.estimate([wide]) == estimator.estimate([wide.resize((16, 16), Image.Resampling.LANCZOS)])
    assert estimator.estimate([]) == []


def test_an_estimators_fingerprint_follows_its_weights(estimator_folder):
    before = TinyEstimator(estimator_folder).fingerprint
    assert before == TinyEstimator(estimator_folder, batch_size=5).fingerprint
    net = ConvEstimator.from_pretrained(estimator_folder)
    net.head[-1].bias.data[0] += 1e-3
    net.save_pretrained(estimator_folder)
    assert TinyEstimator(estimator_folder).fingerprint != before


def test_unknown_providers_and_settings_are_named():
    with pytest.raises(ValueError, match="openface"):
        abilities.build("action_units", {"provider": "openface"})
    with pytest.raises(TypeError, match="threshold"):
        abilities.build("action_units", {"provider": "mediapipe", "threshold": 3})


def test_annotators_import_and_fingerprint_without_torch(estimator_folder):
    code = (
        "import sys\n"
        "from inference import abilities, autoencoder, blip2, clip, devices, images, mediapipe\n"
        f"settings = {{'provider': {ESTIMATOR!r}, 'model': {str(estimator_folder)!r}}}\n"
        "abilities.build('action_units', settings).fingerprint\n"
        "loaded = {'torch', 'transformers', 'diffusers', 'mediapipe', 'dagster'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=images.__file__.rsplit("/", 2)[0])


# --- MediaPipe

CHANNELS = [
    *("browInnerUp", "jawOpen", "mouthClose", "mouthShrugLower"),
    *(
        f"{name}{side}"
        for name in ("browOuterUp", "browDown", "eyeWide", "eyeSquint", "mouthSmile", "mouthFrown")
        for side in ("Left", "Right")
    ),
    *(
        f"{name}{side}"
        for name in ("mouthStretch", "mouthLowerDown", "mouthUpperUp", "noseSneer")
        for side in ("Left", "Right")
    ),
]


def _face(**shapes):
    values = dict.fromkeys(CHANNELS, 0.0)
    for name, value in shapes.items():
        values |= {name: value} if name in values else {f"{name}Left": value, f"{name}Right": value}
    return dict(zip(ACTION_UNITS, mediapipe.intensities(values), strict=True))


def test_a_resting_face_is_zero_and_au9_is_null():
    values = _face()
    assert values.pop(9) is None and set(values.values()) == {0.0}
    assert _face(noseSneer=1.0)[9] is None
    assert 9 not in mediapipe.MediaPipe.supported and len(mediapipe.MediaPipe.supported) == 11


@pytest.mark.parametrize(
    "shapes, au, expected",
    [
        ({"browInnerUp": 0.475}, 1, 2.5),  # half way between 0.15 and 0.80
        ({"browOuterUpLeft": 0.95, "browOuterUpRight": 0.0}, 2, 2.5),  # sides are averaged
        ({"browDown": 0.9}, 4, 5.0),
        ({"mouthSmile": 0.525}, 12, 2.5),
        ({"mouthLowerDown": 0.3, "mouthUpperUp": 0.325}, 25, 2.5),
        ({"jawOpen": 0.6}, 25, 5.0),  # a jaw that drops parts the lips …
        ({"jawOpen": 0.6, "mouthClose": 0.6}, 25, 0.0),  # … unless they are held together
        ({"jawOpen": 0.425}, 26, 2.5),
        ({"eyeSquint": 0.45, "mouthSmile": 0.35}, 6, 1.25),  # half a squint, half a smile
        ({"eyeSquint": 0.9}, 6, 0.0),  # a squint alone raises no cheek
    ],
)
def test_blendshapes_become_intensities(shapes, au, expected):
    assert _face(**shapes)[au] == pytest.approx(expected)


def test_full_blendshapes_never_leave_the_range():
    values = [value for value in mediapipe.intensities(dict.fromkeys(CHANNELS, 1.0)) if value is not None]
    assert min(values) >= 0 and max(values) <= 5


def test_what_is_missing_is_said_with_what_to_install(monkeypatch, tmp_path):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    with pytest.raises(abilities.EstimatorUnavailable, match="nowhere"):
        _ = mediapipe.MediaPipe(model=tmp_path / "nowhere.task").fingerprint
    monkeypatch.setattr(mediapipe, "find_spec", lambda name: None)
    with pytest.raises(abilities.EstimatorUnavailable, match=r"make environment"):
        _ = mediapipe.MediaPipe().fingerprint
    monkeypatch.setattr(mediapipe.metadata, "version", missing)
    (tmp_path / "face.task").write_bytes(b"model")
    for use in (lambda it: it.fingerprint, lambda it: it.estimate(_pictures(1))):
        with pytest.raises(abilities.EstimatorUnavailable, match=r"is missing: make environment"):
            use(mediapipe.MediaPipe(model=tmp_path / "face.task"))


@pytest.fixture
def portraits():
    pytest.importorskip("mediapipe", reason="make environment")


def test_of_several_faces_the_largest_is_read(portraits):
    def box(left, top, right, bottom):
        return [SimpleNamespace(x=left, y=top), SimpleNamespace(x=right, y=bottom)]

    def shapes(**values):
        scores = dict.fromkeys(CHANNELS, 0.0) | values
        return [SimpleNamespace(category_name=name, score=score) for name, score in scores.items()]

    # On a picture twice as wide as high the second box, 0.3 × 0.5, covers more than the first, 0.2 × 0.6.
    found = SimpleNamespace(
        face_landmarks=[box(0.0, 0.1, 0.2, 0.7), box(0.5, 0.2, 0.8, 0.7)],
        face_blendshapes=[shapes(jawOpen=0.0), shapes(jawOpen=1.0)],
    )
    landmarker = SimpleNamespace(detect=lambda image: found)
    reading = mediapipe._read(landmarker, Image.new("RGB", (200, 100)))
    assert reading.faces == 2 and reading.intensities[-1] == 5.0


def test_mediapipe_reads_a_real_photograph(portraits):
    astronaut = Image.fromarray(pytest.importorskip("skimage.data").astronaut())
    face = astronaut.crop((140, 0, 310, 170))
    two = Image.new("RGB", (600, 400), "grey")
    two.paste(face, (30, 100))
    two.paste(face.resize((300, 300)), (260, 50))
    estimator = mediapipe.MediaPipe()
    smiling, empty, both = estimator.estimate([astronaut, Image.new("RGB", (64, 64), "grey"), two])
    values = dict(zip(ACTION_UNITS, smiling.intensities, strict=True))
    assert smiling.faces == 1 and values[9] is None
    assert values[12] > 3 and values[25] > 1 and max(values[au] for au in (4, 15, 17, 20, 26)) < 1
    assert empty == abilities.unmeasured("no_face") and empty.intensities == (None,) * 12
    assert both.faces == 2 and both.intensities[6] == pytest.approx(values[12], abs=0.5)
    assert estimator.calls == 3


# --- CLIP and the autoencoder


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 32, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2}
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    vision = {**sizes, "image_size": 16, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=size).save_pretrained(folder)
    return folder


def test_clip_embeddings_are_unit_rows_of_the_models_own(clip_folder):
    from transformers import CLIPImageProcessorPil, CLIPModel

    pictures = [*_pictures(4), _pictures(1, size=30)[0].resize((40, 30))]
    clip = Clip(clip_folder, batch_size=2, device="cpu")
    rows = clip.embed_images(pictures)
    assert rows.shape == (5, 12) and rows.dtype == np.float32 and clip.calls == 5
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
    net = CLIPModel.from_pretrained(clip_folder).eval()
    pixels = CLIPImageProcessorPil.from_pretrained(clip_folder)(pictures[4], return_tensors="pt")
    with torch.no_grad():
        own = net.visual_projection(net.vision_model(**pixels).pooler_output)[0].numpy()
    assert rows[4] == pytest.approx(own / np.linalg.norm(own), abs=1e-5)
    assert clip.embed_images([]).shape == (0, 12)


def test_texts_are_embedded_in_the_pictures_space(clip_folder, tmp_path):
    import shutil

    from transformers import AutoTokenizer, CLIPModel, CLIPTokenizer

    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    words = {word: place for place, word in enumerate(["!", "<s>", "</s>", "a</w>", "face</w>", "a", "face"])}
    CLIPTokenizer(vocab=words, merges=[], bos_token="<s>", eos_token="</s>", unk_token="!").save_pretrained(
        folder
    )
    clip = Clip(folder, batch_size=2, device="cpu")
    texts = ["a", "a " * 40, "a a"]
    rows = clip.embed_texts(texts)
    assert rows.shape == (3, 12) and np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
    net, tokenizer = CLIPModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer([texts[2]], return_tensors="pt", truncation=True, max_length=8)
    with torch.no_grad():
        own = net.get_text_features(**tokens).pooler_output[0].numpy()
    assert rows[2] == pytest.approx(own / np.linalg.norm(own), abs=1e-5)


def test_clip_fingerprint_loads_nothing_and_knows_the_precision(clip_folder):
    clip = Clip(clip_folder)
    assert clip.fingerprint != Clip(clip_folder, precision="bfloat16").fingerprint
    assert "_loaded" not in vars(clip)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    from diffusers import AutoencoderKL

    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
        norm_num_groups=4,
    ).save_pretrained(folder / "vae")
    return folder


def test_moments_are_the_vaes_own(base_folder):
    from diffusers import AutoencoderKL

    pictures = _pictures(5)
    autoencoder = Autoencoder(base_folder, batch_size=2, device="cpu")
    moments = autoencoder.encode(pictures)
    assert moments.shape == (5, 6, 8, 8) and moments.dtype == np.float16 and autoencoder.calls == 5
    vae = AutoencoderKL.from_pretrained(base_folder, subfolder="vae").eval()
    x = torch.from_numpy(np.asarray(pictures[3]).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        latent = vae.encode(x).latent_dist
    assert moments[3, :3] == pytest.approx(latent.mean[0].numpy(), abs=2e-3)
    assert moments[3, 3:] == pytest.approx(latent.logvar[0].numpy(), abs=2e-3)


def test_moments_survive_a_safetensors_file(base_folder):
    from safetensors.numpy import load, save

    moments = Autoencoder(base_folder, batch_size=2, device="cpu").encode(_pictures(5))
    assert moments.flags.c_contiguous  # safetensors writes memory as it lies, whatever the strides say
    assert np.array_equal(load(save({"moments": moments}))["moments"], moments)


def test_an_autoencoders_fingerprint_is_that_of_its_vae_only(base_folder, tmp_path):
    import shutil

    copy = shutil.copytree(base_folder, tmp_path / "copy")
    (copy / "unet").mkdir()
    (copy / "unet" / "config.json").write_text("{}")
    assert Autoencoder(copy).fingerprint == Autoencoder(base_folder).fingerprint
    assert Autoencoder(copy, precision="float16").fingerprint != Autoencoder(base_folder).fingerprint


@pytest.mark.parametrize("sizes", [(16, 24), (15, 15)])
def test_pictures_that_do_not_fit_the_vae_are_refused(base_folder, sizes):
    pictures = [Image.new("RGB", (size, size)) for size in sizes]
    with pytest.raises(ValueError, match="divisible by 2"):
        Autoencoder(base_folder, device="cpu").encode(pictures)
