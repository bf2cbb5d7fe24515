"""The action-unit adapter of a diffusion UNet (or FLUX's transformer): installation, saving, loading.

It is an IP-Adapter whose image projection is an AU encoder (paper, section 3), put together from the parts of
diffusers and peft. The encoders live in `inference.au_encoders`, what differs between networks in
`inference.networks`, sampling in `inference.pipeline`.
"""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import MultiIPAdapterImageProjection
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from inference import au_encoders, lora
from inference.networks import NoAdapterFits, kind_of, text_attentions

FORMAT = "fineface-adapter"
FORMAT_VERSION = 1
CONFIG_FILE = "adapter.json"
WEIGHTS_FILE = "adapter.safetensors"

_SECOND = "the UNet already has an adapter; load a fresh base"


class AdapterError(ValueError):
    """The adapter and the UNet, or the adapter and its files, do not fit; the message says how."""


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter is, apart from its weights and its base.

    `encoder` names one registered in `au_encoders`; `rank` and `alpha` are those of the LoRA on all
    attentions, whose scale is alpha / rank (the paper: rank 32, alpha 8).
    """

    encoder: str = "res_mlp64"
    rank: int = 32
    alpha: float = 8.0

    def __post_init__(self):
        try:
            au_encoders.get(self.encoder)
        except au_encoders.UnknownEncoder as error:
            raise AdapterError(str(error)) from None
        if not isinstance(self.rank, int) or self.rank < 1:
            raise AdapterError(f"rank must be a whole number of at least 1, not {self.rank!r}")
        if not self.alpha > 0:
            raise AdapterError(f"alpha must be above 0, not {self.alpha!r}")

    @property
    def tokens(self) -> int:
        """AU tokens that each cross-attention sees."""
        return au_encoders.get(self.encoder).tokens


def install(unet: UNet2DConditionModel, config: AdapterConfig, seed: int = 0) -> None:
    """Give `unet` an untrained adapter: AU encoder, decoupled cross-attention and LoRA.

    The AU keys and values start as copies of the text keys and values, LoRA with gaussian initialisation
    (drawn, like the encoder, from `seed` alone). Afterwards only the adapter's parameters require gradients.
    Image adapters and LoRAs that the UNet has stay, the AUs come last: it then wants
    `added_cond_kwargs={"image_embeds": [..., aus]}` with intensities of shape [N, 1, 12].

    Raises AdapterError where the UNet already has an adapter or takes no image adapter, ValueError where it
    is too narrow.
    """
    _check_takes_adapter(unet)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind = kind_of(unet)
        encoder: Any = au_encoders.get(config.encoder).make(kind.width(unet))
        encoder.config, encoder.trained_on, encoder.lora_is_in_base = config, None, False
        pairs = {name: kind.text_maps(unet, one) for name, one in text_attentions(unet).items()}
        _append(unet, encoder, pairs, 1.0)
        lora.add(unet, config.rank, config.alpha)
    unet.requires_grad_(False)
    for parameter in adapter_parameters(unet).values():
        parameter.requires_grad_(True)


def installed(unet: UNet2DConditionModel) -> AdapterConfig | None:
    """The configuration of the adapter that `unet` carries, None where it has none.

    Raises AdapterError where a part of the adapter has been replaced or switched off behind its back, as
    `fuse_qkv_projections`, `enable_attention_slicing`, `set_attn_processor` and a stock pipeline's
    `load_ip_adapter` and `set_adapters` do.
    """
    encoder = _encoder(unet)
    if encoder is None:
        return None
    parts = len(unet.encoder_hid_proj.image_projection_layers)
    for name, attention in text_attentions(unet).items():
        processor = attention.processor
        if not isinstance(processor, kind_of(unet).processor) or len(processor.to_k_ip) != parts:
            other = type(processor).__name__
            raise AdapterError(
                f"the adapter's attention processor at {name} was replaced by {other}: fused projections, "
                "attention slicing and other processors cannot be used with an adapter"
            )
    if encoder.lora_is_in_base:
        return encoder.config
    if lora.NAME not in getattr(unet, "peft_config", {}):
        raise AdapterError("the adapter's LoRA was removed from the UNet; load the adapter into a fresh base")
    if lora.NAME not in unet.active_adapters():
        raise AdapterError(
            f"the adapter's LoRA is switched off; switch it on: unet.set_adapters([{lora.NAME!r}, …])"
        )
    return encoder.config


def trained_on(unet: UNet2DConditionModel) -> dict[str, str | None] | None:
    """The base that the record of the adapter in `unet` names; None where that is not known."""
    encoder = _encoder(unet)
    return None if encoder is None else encoder.trained_on


def is_fused(unet: UNet2DConditionModel) -> bool:
    """Whether the adapter's LoRA has been added to the weights of the base (`fuse_lora`)."""
    encoder = _encoder(unet)
    layers = (module for module in unet.modules() if isinstance(module, BaseTunerLayer))
    merged = any(lora.NAME in layer.merged_adapters for layer in layers)
    return merged or (encoder is not None and encoder.lora_is_in_base)


def drop_fused_lora(unet: UNet2DConditionModel) -> None:
    """Take away the layers of LoRAs that are fused, the adapter's among them; the base keeps their sum."""
    if (encoder := _encoder(unet)) is not None:
        encoder.lora_is_in_base = True
    unet.unload_lora()


def switch_on_lora(unet: UNet2DConditionModel, beside: Iterable[str] = ()) -> None:
    """Let the adapter's LoRA, if there is one, take part with those that do, and with those `beside` it."""
    if lora.NAME in getattr(unet, "peft_config", {}):
        on = unet.active_adapters()
        trained = {name: parameter.requires_grad for name, parameter in unet.named_parameters()}
        unet.set_adapter(list(dict.fromkeys([*on, *beside, lora.NAME])))
        for name, parameter in unet.named_parameters():
            parameter.requires_grad_(trained[name])


def image_projections(unet: UNet2DConditionModel) -> list[nn.Module]:
    """The projections of the image adapters of `unet`, in order; the AU encoder is not among them."""
    layers = _projections(unet)
    return layers if _encoder(unet) is None else layers[:-1]


@contextmanager
def set_aside(unet: UNet2DConditionModel) -> Iterator[None]:
    """Take the AU part out of the attentions while image adapters are loaded or unloaded, and put it back.

    What replaces all processors of a UNet (`load_ip_adapter`, `unload_ip_adapter`) is called within. Where
    it fails, the UNet is as it was before.
    """
    encoder = _encoder(unet)
    if encoder is None:
        yield
        return
    before = unet.encoder_hid_proj, dict(unet.attn_processors), unet.config.get("encoder_hid_dim_type")
    processors = {name: attention.processor for name, attention in text_attentions(unet).items()}
    pairs = {name: (one.to_k_ip[-1], one.to_v_ip[-1]) for name, one in processors.items()}
    scale = next(iter(processors.values())).scale[-1]
    try:
        yield
    except BaseException:
        unet.encoder_hid_proj = before[0]
        unet.set_attn_processor(before[1])
        unet.register_to_config(encoder_hid_dim_type=before[2])
        raise
    _append(unet, encoder, pairs, scale)


def set_scale(unet: UNet2DConditionModel, scale: float) -> None:
    """Weigh the AU attention by `scale` (λ_AU of the paper: 1 as trained, 0 leaves only LoRA)."""
    for attention in text_attentions(unet).values():
        attention.processor.scale[-1] = float(scale)


def adapter_parameters(unet: UNet2DConditionModel) -> dict[str, nn.Parameter]:
    """All parameters of the installed adapter by names that do not change: AU parts first, then LoRA."""
    parameters = _au_parameters(unet)
    return parameters | lora.parameters(unet)


def trainable_parameters(unet: UNet2DConditionModel) -> dict[str, nn.Parameter]:
    """Those of `adapter_parameters` that require gradients: all after `install`, none after `load`."""
    return {name: p for name, p in adapter_parameters(unet).items() if p.requires_grad}


def save(
    unet: UNet2DConditionModel, folder: Path | str, base: Mapping[str, str | None] | None = None
) -> None:
    """Write the adapter of `unet` into `folder`: a record, the AU parts and the LoRA.

    `base` names the base model (model, revision, fingerprint) for the record; without it, the base that the
    adapter was loaded with stays named. The LoRA file is in the form that diffusers' `load_lora_weights`
    reads, with alpha. Equal adapters give equal bytes.

    Raises AdapterError where `unet` has no adapter, or its LoRA is fused.
    """
    config = installed(unet)
    if config is None:
        raise AdapterError("nothing to save: the UNet has no adapter")
    if is_fused(unet):
        raise AdapterError("the adapter's LoRA is fused into the base: save before that, or unfuse_lora()")
    base = base or _encoder(unet).trained_on or {}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    au = {name: p.detach().contiguous() for name, p in _au_parameters(unet).items()}
    save_file(au, folder / WEIGHTS_FILE)
    lora.save(unet, folder, config.rank, config.alpha)
    record = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        **asdict(config),
        "tokens": config.tokens,
        "cross_attention_dim": kind_of(unet).width(unet),
        "base": {**base, "key_norms": _key_norms(unet)},
    }
    (folder / CONFIG_FILE).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")


def load(unet: UNet2DConditionModel, folder: Path | str) -> AdapterConfig:
    """Install the adapter saved in `folder` into `unet`, frozen; its output equals the trained one's.

    Image adapters may be there already (see `install`). Warns where the base has other weights than the one
    it was trained on. Raises AdapterError, and leaves the UNet as it was, where a file is missing, of another
    kind or version, or does not fit the base.
    """
    folder = Path(folder)
    record = read_record(folder)
    config = AdapterConfig(record["encoder"], record["rank"], record["alpha"])
    _check_takes_adapter(unet)
    width = kind_of(unet).width(unet)
    if record["cross_attention_dim"] != width:
        raise AdapterError(
            f"{folder}: the adapter was trained on a base with cross-attention width "
            f"{record['cross_attention_dim']}, this base has {width}"
        )
    tensors = read_tensors(folder / WEIGHTS_FILE), read_tensors(folder / lora.FILE)
    install_trained(unet, config, *tensors, folder)
    _encoder(unet).trained_on = {n: value for n, value in record["base"].items() if n != "key_norms"}
    _warn_of_another_base(unet, record, folder)
    return config


def install_trained(
    unet: UNet2DConditionModel,
    config: AdapterConfig,
    au: Mapping[str, torch.Tensor],
    lora_tensors: Mapping[str, torch.Tensor],
    folder: Path,
) -> None:
    """Install an adapter of the given weights, frozen: `au` by the names of `adapter_parameters`,
    `lora_tensors` as `unet.….lora_A.weight` (as diffusers calls the network), both read from `folder`.

    Raises AdapterError, and leaves the UNet as it was, where it has an adapter or tensors do not fit it.
    """
    _check_takes_adapter(unet)
    check_shapes(_au_shapes(unet, config), au, folder)
    check_shapes(lora.shapes(unet, config.rank), lora_tensors, folder)
    install(unet, config)
    with torch.no_grad():
        for name, parameter in _au_parameters(unet).items():
            parameter.copy_(au[name])
    lora.fill(unet, lora_tensors)
    unet.requires_grad_(False)


def read_record(folder: Path | str) -> dict:
    """A saved adapter's adapter.json. Raises AdapterError where it is missing or of another kind."""
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise AdapterError(f"no adapter in {folder}: {CONFIG_FILE} is missing")
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise AdapterError(f"{path} is not JSON: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise AdapterError(f"{path} does not describe a {FORMAT}")
    if record.get("version") != FORMAT_VERSION:
        version = record.get("version")
        raise AdapterError(f"{path} has format version {version}, this code reads {FORMAT_VERSION}")
    missing = {"encoder", "rank", "alpha", "cross_attention_dim", "base"} - record.keys()
    if missing:
        raise AdapterError(f"{path} lacks {', '.join(sorted(missing))}")
    return record


def _check_takes_adapter(unet: UNet2DConditionModel) -> None:
    try:
        text_attentions(unet)
    except NoAdapterFits as error:
        raise AdapterError(str(error)) from error
    projection = getattr(unet, "encoder_hid_proj", None)
    if _encoder(unet) is not None:
        raise AdapterError(_SECOND)
    if projection is not None and not isinstance(projection, MultiIPAdapterImageProjection):
        raise AdapterError(
            f"the UNet projects its text by {type(projection).__name__}: a base of this kind takes no adapter"
        )
    if any(module.merged for module in unet.modules() if isinstance(module, BaseTunerLayer)):
        raise AdapterError(
            "a LoRA is fused into the UNet, and peft leaves out others beside it: unfuse_lora() or "
            "unload_lora_weights() first"
        )


def _append(
    unet: UNet2DConditionModel, encoder: Any, pairs: Mapping[str, tuple[Any, Any]], scale: float
) -> None:
    """Put the AU encoder, and a pair (to_k_ip, to_v_ip) a cross-attention, after the image adapters."""
    tokens = encoder.config.tokens
    processors = dict(unet.attn_processors)
    for name, (keys, values) in pairs.items():
        processor = processors[f"{name}.processor"]
        if not isinstance(processor, kind_of(unet).processor):
            processor = kind_of(unet).processor(keys.out_features, keys.in_features, num_tokens=[])
        processor.num_tokens = [*getattr(processor, "num_tokens", ()), tokens]
        processor.scale = [*processor.scale, scale]
        processor.to_k_ip.append(keys.to(unet.device, unet.dtype))
        processor.to_v_ip.append(values.to(unet.device, unet.dtype))
        processors[f"{name}.processor"] = processor
    unet.set_attn_processor(processors)
    encoder.to(unet.device, unet.dtype)
    unet.encoder_hid_proj = MultiIPAdapterImageProjection([*image_projections(unet), encoder])
    unet.register_to_config(encoder_hid_dim_type="ip_image_proj")


def _projections(unet: UNet2DConditionModel) -> list[nn.Module]:
    """Of every further condition, in order; FLUX's transformer lacks the attribute until it has one."""
    return list(getattr(getattr(unet, "encoder_hid_proj", None), "image_projection_layers", ()))


def _encoder(unet: UNet2DConditionModel) -> Any:
    return next(
        (layer for layer in _projections(unet) if isinstance(getattr(layer, "config", None), AdapterConfig)),
        None,
    )


def _au_parameters(unet: UNet2DConditionModel) -> dict[str, nn.Parameter]:
    encoder = _encoder(unet)
    assert encoder is not None, "it is installed"
    parameters = {f"encoder.{name}": p for name, p in encoder.named_parameters()}
    for name, attention in text_attentions(unet).items():
        for part in ("to_k_ip", "to_v_ip"):
            linear = getattr(attention.processor, part)[-1]
            parameters.update((f"{name}.{part}.{which}", p) for which, p in linear.named_parameters())
    return parameters


def _au_shapes(unet: UNet2DConditionModel, config: AdapterConfig) -> dict[str, tuple[int, ...]]:
    kind, width = kind_of(unet), kind_of(unet).width(unet)
    with torch.device("meta"):
        encoder = au_encoders.get(config.encoder).make(width)
    shapes = {f"encoder.{name}": tuple(p.shape) for name, p in encoder.named_parameters()}
    for name, attention in text_attentions(unet).items():
        for part in ("to_k_ip", "to_v_ip"):
            shapes[f"{name}.{part}.weight"] = (attention.to_k.out_features, width)
            if kind.bias:
                shapes[f"{name}.{part}.bias"] = (attention.to_k.out_features,)
    return shapes


def check_shapes(wanted: Mapping[str, tuple], found: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Raises AdapterError where tensors `found` in `folder` are not those `wanted`, by name and shape."""
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    wrong = sorted(n for n in wanted.keys() | shapes.keys() if wanted.get(n) != shapes.get(n))
    if wrong:
        raise AdapterError(f"{folder}: {len(wrong)} tensors do not fit this base, the first is {wrong[0]}")


def _key_norms(unet: UNet2DConditionModel) -> list[float]:
    """One number for each cross-attention, telling bases of equal shape apart whatever their precision."""
    weights = [attention.to_k.weight for attention in text_attentions(unet).values()]
    return [float(f"{weight.detach().cpu().double().norm().item():.6g}") for weight in weights]


def _warn_of_another_base(unet: UNet2DConditionModel, record: Mapping, folder: Path) -> None:
    trained_on = torch.tensor(record["base"].get("key_norms", []), dtype=torch.float64)
    here = torch.tensor(_key_norms(unet), dtype=torch.float64)
    if trained_on.shape != here.shape or not torch.allclose(trained_on, here, rtol=1e-4):
        model = record["base"].get("model", "another base")
        message = f"{folder}: the adapter was trained on {model}; this base has other weights"
        warnings.warn(message, stacklevel=3)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a saved file. Raises AdapterError where it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise AdapterError(f"no adapter in {path.parent}: {path.name} is missing") from error
    except SafetensorError as error:
        raise AdapterError(f"{path} is damaged: {error}") from error
