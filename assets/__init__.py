"""The stages as Dagster assets, one file each: read, call one function from below, return, describe.

What a stage computes lives in the rooms below; which profile and home it runs on is handed in as a resource.
"""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import dagster as dg


@dataclass(frozen=True)
class Loaded:
    """All assets and all asset checks of the graph."""

    assets: list[dg.AssetsDefinition]
    checks: list[dg.AssetChecksDefinition]


def load(experiments: dg.StaticPartitionsDefinition) -> Loaded:
    """The whole graph: what the modules of `data_set`, `experiment`, `results`, `annotators` and `editing`
    define.

    A stage of an experiment has one partition an experiment, so its module has a function `build` instead.
    """
    from assets import annotators, data_set, editing, experiment, gate, held_out, results
    from assets.editing import trained_editors

    data = _modules(data_set)
    compared = [*_modules(results), *_modules(annotators), *_modules(editing), *_modules(held_out)]
    data_checks = dg.load_asset_checks_from_modules(data)
    data_assets = _assets(data)
    gates = gate.blocking([*data_checks, *data_assets])
    return Loaded(
        assets=[
            *data_assets,
            *_assets(compared),
            *trained_editors.build(gates),
            *(asset for module in _modules(experiment) for asset in module.build(experiments, gates)),
        ],
        checks=[*data_checks, *dg.load_asset_checks_from_modules(compared)],
    )


def _modules(package: ModuleType) -> list[ModuleType]:
    return [import_module(f"{package.__name__}.{found.name}") for found in iter_modules(package.__path__)]


def _assets(modules: list[ModuleType]) -> list[dg.AssetsDefinition]:
    found = dg.load_assets_from_modules(modules)
    return [asset for asset in found if isinstance(asset, dg.AssetsDefinition)]
