"""A saved adapter as a repository of its own: a card beside its files, and the way to Hugging Face's hub."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub

from facs import ACTION_UNITS
from inference import lora, weights
from inference.adapter import CONFIG_FILE, WEIGHTS_FILE, AdapterError, read_record
from inference.interchange import STOCK_FILE

CARD_FILE = "README.md"
FILES = (CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, lora.FILE, STOCK_FILE)
"""All that is published. What else lies in the folder stays here."""


def write_card(folder: Path | str) -> None:
    """Write README.md for the adapter saved in `folder`, from its record; one that is there already stays."""
    path = Path(folder) / CARD_FILE
    if not path.exists():
        path.write_text(card(read_record(folder), stock=(Path(folder) / STOCK_FILE).is_file()))


def card(record: Mapping[str, Any], stock: bool = False) -> str:
    """The card of an adapter by its record (adapter.json): Hugging Face's front matter, what it is, how it is
    used. `stock`: whether stock pipelines of diffusers can read it too.
    """
    base = record["base"].get("model")
    tags = ["faces", "facial-action-units", "fineface", "ip-adapter", "lora"]
    front = {"library_name": "diffusers", "pipeline_tag": "text-to-image", "license": "other", "tags": tags}
    if base is not None:
        front |= {"base_model": base, "base_model_relation": "adapter"}
    return _CARD.format(
        front="\n".join(f"{name}: {json.dumps(value)}" for name, value in front.items()),
        units=", ".join(f"AU{unit}" for unit in ACTION_UNITS),
        base=base or "not recorded",
        revision=record["base"].get("revision") or "not recorded",
        asked="" if base else "base, ",
        stock=_STOCK if stock else "",
        **{name: record[name] for name in ("encoder", "tokens", "cross_attention_dim", "rank", "alpha")},
    )


def push(
    folder: Path | str,
    repo: str,
    *,
    private: bool = True,
    token: str | None = None,
    message: str = "An action-unit adapter",
    create_pr: bool = False,
) -> str:
    """Upload the adapter saved in `folder`, with its card, to the hub's repository `repo`, made if need be.

    The address of the commit. Nothing but `FILES` is sent. Raises `inference.adapter.AdapterError`, before
    anything is sent, where the folder holds no adapter or the record names its base by a path; and what the
    hub's client raises.
    """
    _check_base_is_public(folder)
    write_card(folder)
    api = huggingface_hub.HfApi(token=token)
    made = api.create_repo(repo, private=private, exist_ok=True)
    commit = api.upload_folder(
        repo_id=made.repo_id,
        folder_path=folder,
        allow_patterns=list(FILES),
        commit_message=message,
        create_pr=create_pr,
    )
    return str(commit.commit_url)


def _check_base_is_public(folder: Path | str) -> None:
    """A path of this machine would say who trained it, and mean nothing elsewhere."""
    model = read_record(folder)["base"].get("model")
    if model is not None and (weights.is_local(model) or not re.fullmatch(r"[\w.-]+/[\w.-]+", model)):
        raise AdapterError(
            f"the record names its base by a path of this machine, {model}: say the base's id on the hub, "
            'save_adapter(folder, base={"model": "owner/name", "revision": "…"})'
        )


_CARD = """---
{front}
---

# An action-unit adapter

Intensities of twelve facial action units beside the prompt: {units}. They go from 0 to 5, as in FACS; what
lies beyond on either side is extrapolated.

| | |
|---|---|
| base | {base} |
| revision of the base | {revision} |
| AU encoder | {encoder}, {tokens} token(s) of {cross_attention_dim} |
| LoRA | rank {rank}, alpha {alpha} |

```python
from inference.pipeline import FineFacePipeline

pipe = FineFacePipeline.from_pretrained({asked}adapter="this/folder")
pipe("A young man in a park", aus={{"AU6": 3, "AU12": 4.5}}).images[0]
```

{stock}The licence of the base holds, and so do the terms of the pictures that the adapter was trained on.
"""
_STOCK = f"""A stock pipeline of diffusers can use it too, in float32 and with one AU vector a call:

```python
import torch

pipe.load_ip_adapter("this/folder", subfolder="", weight_name="{STOCK_FILE}", image_encoder_folder=None)
pipe.load_lora_weights("this/folder", weight_name="{lora.FILE}")
aus = torch.zeros(1, 12)
aus[0, 6] = 4.5  # AU12
pipe(prompt, ip_adapter_image_embeds=[torch.stack([torch.zeros(1, 12), aus])]).images[0]
```

"""
