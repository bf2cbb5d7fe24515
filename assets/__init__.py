"""The stages as Dagster assets, one file each: read, call one function from below, return, describe.

What a stage computes lives in the rooms below; which profile and home it runs on is handed in as a resource.
"""

from dataclasses import dataclass

import dagster as dg


@dataclass(frozen=True)
class Loaded:
    """All assets and all asset checks of the graph."""

    assets: list[dg.AssetsDefinition]
    checks: list[dg.AssetChecksDefinition]


def load(experiments: dg.StaticPartitionsDefinition) -> Loaded:
    """The whole graph; the stages from `adapter` to the scores have one partition an experiment."""
    from assets import (
        adapter,
        agreement,
        au_annotation,
        captions,
        corrections,
        face_crop,
        gate,
        generated_samples,
        latents,
        overrides,
        photorealism,
        raw,
        resolution,
        results,
        scores,
        training_set,
    )

    plain = [
        raw,
        face_crop,
        resolution,
        overrides,
        photorealism,
        au_annotation,
        agreement,
        corrections,
        captions,
        training_set,
        latents,
        results,
    ]
    checks = [check for room in plain for check in room.CHECKS]
    before_training = gate.blocking([check for check in checks if check not in results.CHECKS])
    return Loaded(
        assets=[
            *(asset for room in plain for asset in room.ASSETS),
            *adapter.build(experiments, before_training),
            *generated_samples.build(experiments),
            *scores.build(experiments),
        ],
        checks=checks,
    )
