"""The jobs: the data set, one experiment, the comparison. `fineface run` runs them in this order, and so does
what runs by itself (`pipelines.automation`), after a look at the raw data alone.
"""

import dagster as dg

ON_A_GPU = {
    "dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
}
"""What the pod of a job is given where runs are pods (docs/deployment.md); nothing elsewhere reads it."""

RAW = dg.AssetSelection.assets("raw_affectnet", "raw_disfa", "raw_folder", "raw_rendered")

raw = dg.define_asset_job(
    "read_raw_data", RAW, description="Read the raw data, and only that: what new files begin with."
)
data_set = dg.define_asset_job(
    "data_set",
    dg.AssetSelection.groups("data_set"),
    description="From raw data to the training set's latents. Models are asked about what is new.",
    tags=ON_A_GPU,
)
experiment = dg.define_asset_job(
    "experiment",
    dg.AssetSelection.groups("experiment"),
    description="Train, generate and measure one experiment (a partition).",
    tags=ON_A_GPU,
)
comparison = dg.define_asset_job(
    "comparison",
    dg.AssetSelection.groups("results"),
    description="Tables, figures and the report, of all experiments.",
)

annotators = dg.define_asset_job(
    "annotators",
    dg.AssetSelection.groups("annotators"),
    description="Try the estimators on rendered faces of known intensities; no part of a run of everything.",
)

editing = dg.define_asset_job(
    "editing",
    dg.AssetSelection.groups("editing"),
    description="Train and measure the editors of given faces; no part of a run of everything.",
    tags=ON_A_GPU,
)

held_out = dg.define_asset_job(
    "held_out",
    dg.AssetSelection.groups("held_out"),
    description="Compare the experiments on the held-out prompts; begun by `fineface held-out` only.",
    tags=ON_A_GPU,
)

PHASES = (data_set, experiment, comparison)
ALL = (*PHASES, annotators, editing, held_out)
