"""The gate before training: the latest result of each blocking check counts, whichever run it is from."""

import dagster as dg
import pytest

from assets import gate

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
verdict = {"passed": True, "severity": dg.AssetCheckSeverity.ERROR}


@dg.asset
def labels():
    return 1


@dg.asset_check(asset=labels, blocking=True)
def sound(labels) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(**verdict)


@dg.asset_check(asset=labels)
def pretty(labels) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False)


@dg.asset(deps=[labels])
def model(context: dg.AssetExecutionContext) -> None:
    gate.refuse_on_failed(context, gate.blocking([sound, pretty]))


@pytest.fixture
def train():
    """Judge the labels in one run and train in another, in one Dagster instance; whether it trained."""
    with dg.DagsterInstance.ephemeral() as instance:
        memory = {"io_manager": dg.mem_io_manager}

        def run(judged=True, **new):
            verdict.update(new)
            common = {"instance": instance, "resources": memory, "raise_on_error": False, "run_config": QUIET}
            if judged:
                dg.materialize([labels, sound, pretty], **common)
            return dg.materialize([model, labels, sound], selection=[model], **common)

        yield run


def test_a_check_that_never_ran_does_not_refuse(train):
    assert train(judged=False).success


def test_training_waits_until_the_failed_check_passes(train):
    assert train(passed=True, severity=dg.AssetCheckSeverity.ERROR).success
    refused = train(passed=False)
    assert not refused.success
    assert "sound of labels" in refused.failure_data_for_node("model").user_failure_data.description
    assert train(passed=True).success


def test_a_warning_does_not_refuse(train):
    assert train(passed=False, severity=dg.AssetCheckSeverity.WARN).success


def test_a_check_that_an_interrupted_run_planned_says_nothing():
    """Its result never came: the latest completed one still counts."""
    with dg.DagsterInstance.ephemeral() as instance:
        common = {"instance": instance, "raise_on_error": False, "run_config": QUIET}
        memory = {"io_manager": dg.mem_io_manager}

        def planned():
            job = dg.define_asset_job("interrupted", dg.AssetSelection.assets(labels))
            checked = dg.Definitions(
                assets=[labels],
                asset_checks=[sound],
                jobs=[job],
                resources=memory,
                executor=dg.in_process_executor,
            )
            instance.create_run_for_job(checked.resolve_job_def("interrupted"))

        def trained():
            return dg.materialize([model, labels, sound], selection=[model], resources=memory, **common)

        planned()
        assert trained().success, "planned, and never judged before"
        verdict.update(passed=False, severity=dg.AssetCheckSeverity.ERROR)
        dg.materialize([labels, sound], resources=memory, **common)
        planned()
        assert not trained().success
        verdict.update(passed=True)
        dg.materialize([labels, sound], resources=memory, **common)
        planned()
        assert trained().success
