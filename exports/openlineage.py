"""An OpenLineage event for a table that was written: who wrote it, from which versions, with which columns.

Off unless a profile says where events go. Needs the extra `lineage`, which is imported with the first event.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

import stages

NAMESPACE = "fineface"
PRODUCER = "https://arxiv.org/abs/2407.20175"
"""What events name as their producer: an address, as the format wants it."""
KEY = "OPENLINEAGE_API_KEY"
TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Written:
    """A table that a step of a run wrote. stage: its name, with the experiment. upstream: versions read."""

    stage: str
    version: int
    frame: pl.DataFrame
    run_id: str
    job: str
    code_version: str
    upstream: Mapping[str, int | None]


@dataclass(frozen=True)
class Events:
    """Where events go: an http(s) address of a collector, with its key in OPENLINEAGE_API_KEY, or a file that
    they are appended to, a line each."""

    target: str

    def send(self, written: Written) -> None:
        """Send the event of `written`. Raises ImportError without the extra `lineage`, and what the transport
        raises where the target cannot be reached."""
        self._client.emit(event(written))

    @cached_property
    def _client(self) -> Any:
        from openlineage.client import OpenLineageClient

        return OpenLineageClient(transport=self._transport())

    def _transport(self) -> Any:
        if not self.target.startswith(("http://", "https://")):
            from openlineage.client.transport.file import FileConfig, FileTransport

            path = Path(self.target).expanduser().absolute()
            path.parent.mkdir(parents=True, exist_ok=True)
            return FileTransport(FileConfig(log_file_path=str(path), append=True))
        from openlineage.client.transport.http import (
            ApiKeyTokenProvider,
            HttpConfig,
            HttpTransport,
            TokenProvider,
        )

        key = os.environ.get(KEY)
        auth = ApiKeyTokenProvider({"api_key": key}) if key else TokenProvider({})
        retry = {"total": 1, "backoff_factor": 0.1, "allowed_methods": ["POST"]}
        return HttpTransport(HttpConfig(self.target, timeout=TIMEOUT_SECONDS, retry=retry, auth=auth))


def event(written: Written) -> Any:
    """The COMPLETE event of the step that wrote a table. Its run is named by Dagster's run, which is its
    parent, and the stage."""
    from openlineage.client import event_v2 as ol
    from openlineage.client.facet_v2 import (
        dataset_version_dataset,
        job_type_job,
        output_statistics_output_dataset,
        parent_run,
    )

    step = uuid.uuid5(uuid.UUID(written.run_id), written.stage)
    parent = parent_run.ParentRunFacet(
        run=parent_run.Run(runId=written.run_id), job=parent_run.Job(namespace=NAMESPACE, name=written.job)
    )
    kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="DAGSTER", jobType="ASSET")
    version = dataset_version_dataset.DatasetVersionDatasetFacet
    rows = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=written.frame.height)
    facets = {
        "version": version(datasetVersion=str(written.version)),
        "schema": _schema(written),
        "columnLineage": _columns(written),
    }
    return ol.RunEvent(
        eventType=ol.RunState.COMPLETE,
        eventTime=datetime.now(UTC).isoformat(),
        run=ol.Run(runId=str(step), facets={"parent": parent}),
        job=ol.Job(namespace=NAMESPACE, name=written.stage, facets={"jobType": kind}),
        producer=PRODUCER,
        inputs=[
            ol.InputDataset(NAMESPACE, name, facets={"version": version(datasetVersion=str(number))})
            for name, number in sorted(written.upstream.items())
        ],
        outputs=[
            ol.OutputDataset(NAMESPACE, written.stage, facets=facets, outputFacets={"outputStatistics": rows})
        ],
    )


def _schema(written: Written) -> Any:
    from openlineage.client.facet_v2 import schema_dataset

    declared = stages.named(written.stage.partition("/")[0])
    known = {**declared.columns, **declared.optional}
    field = schema_dataset.SchemaDatasetFacetFields
    return schema_dataset.SchemaDatasetFacet(
        fields=[
            field(name, str(kind), known[name].description if name in known else None)
            for name, kind in written.frame.schema.items()
        ]
    )


def _columns(written: Written) -> Any:
    from openlineage.client.facet_v2 import column_lineage_dataset as lineage

    sources = stages.column_sources(written.stage, list(written.upstream))
    return lineage.ColumnLineageDatasetFacet(
        fields={
            column: lineage.Fields(inputFields=_inputs(found))
            for column, found in sources.items()
            if column in written.frame.columns
        }
    )


def _inputs(found: Sequence[tuple[str, str]]) -> list[Any]:
    from openlineage.client.facet_v2 import column_lineage_dataset as lineage

    return [lineage.InputField(NAMESPACE, table, column) for table, column in found]
