"""Where Dagster finds the definitions, by the names of `fineface ui`: what a run by command and a switch by
command must carry to be those of the UI.
"""

from __future__ import annotations

from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from pipelines import profiles

MODULE = "pipelines.definitions"
"""Also the name of the code location."""


def repository() -> RemoteRepositoryOrigin:
    """The repository of `fineface ui` and workspace.yaml."""
    target = LoadableTargetOrigin(module_name=MODULE, working_directory=str(profiles.PROJECT))
    return RemoteRepositoryOrigin(
        ManagedGrpcPythonEnvCodeLocationOrigin(target, MODULE), SINGLETON_REPOSITORY_NAME
    )


def label() -> dict[str, str]:
    """The tag by which the UI lists a run under its job."""
    return {REPOSITORY_LABEL_TAG: repository().get_label()}
