"""The gate before training: the latest result of each blocking check counts, whichever run it is from."""

import dagster as dg
import polars as pl
import pytest

from assets import gate, stage
from pipelines import acceptances
from store import Store

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


ROWS = 2000


class Watched:
    """A stage `captions` that keeps a share of its rows, in one Dagster instance, run after run."""

    def __init__(self, home):
        self.home = home
        self.share, self.code = 0.9, "1"
        self.instance = dg.DagsterInstance.ephemeral()

    def run(self):
        """Materialise it; the result of its check, and whether what comes after was reached."""
        kept = int(ROWS * self.share)

        @stage.asset(code_version=self.code)
        def captions() -> dg.MaterializeResult:
            nothing = pl.lit(None, dtype=pl.String)
            names = ("file_kind", "file", "content_hash", "model", "fingerprint", "reason_detail")
            table = pl.DataFrame({"sample_id": [f"folder/{row}" for row in range(ROWS)]}).with_columns(
                *(nothing.alias(name) for name in names),
                source=pl.lit("folder"),
                caption=pl.lit("a face"),
                keep=pl.int_range(ROWS) < kept,
                reason_code=pl.when(pl.int_range(ROWS) >= kept).then(pl.lit("no_caption")),
            )
            return stage.result(table)

        @dg.asset
        def after(captions: pl.DataFrame) -> None:
            return None

        done = dg.materialize(
            [captions, after],
            instance=self.instance,
            resources={"io_manager": dg.mem_io_manager},
            raise_on_error=False,
            run_config=QUIET,
        )
        self.key = next(iter(key for key in captions.check_keys if key.name.endswith("share")))
        (found,) = [e for e in done.get_asset_check_evaluations() if e.check_name == self.key.name]
        return found, done.success

    def accept(self, reason="a new camera"):
        store = Store(self.home)
        return acceptances.accept(store, self.instance, [self.key], self.key.name, "Ada", reason)


@pytest.fixture
def watched(tmp_path):
    found = Watched(tmp_path)
    with found.instance:
        yield found


def test_a_filter_that_keeps_another_share_stops_the_run_and_stays_stopped(watched):
    found, went_on = watched.run()
    assert found.passed and went_on, "the first: nothing to compare with"
    watched.share = 0.88
    assert watched.run()[0].passed, "within the limit"
    watched.share = 0.5
    for _ in range(2):
        found, went_on = watched.run()
        assert not found.passed and not went_on
        assert found.metadata["moved"].value == ["folder: keeps 0.500 of 2,000 rows, 0.880 of 2,000 before"]
    watched.share = 0.9
    assert watched.run()[0].passed


def test_what_a_person_accepted_passes_with_a_warning_and_is_compared_with_from_then_on(watched):
    watched.run()
    watched.share = 0.5
    watched.run()
    assert gate.failed(watched.instance, watched.key)
    assert "keeps 0.500" in watched.accept()
    assert not gate.failed(watched.instance, watched.key), "the gate before training hears of it at once"
    found, went_on = watched.run()
    assert went_on and found.passed, "the same state as the accepted one"
    row = Store(watched.home).read("acceptances").row(0, named=True)
    assert (row["check"], row["stage"], row["author"]) == ("captions_keeps_its_share", "captions", "Ada")
    watched.share = 0.9
    assert not watched.run()[0].passed, "now that is the move"


def test_only_what_failed_can_be_accepted(watched):
    watched.run()
    with pytest.raises(acceptances.NotAccepted, match="has not failed"):
        watched.accept()
    watched.share = 0.5
    watched.run()
    with pytest.raises(acceptances.NotAccepted, match="an acceptance needs a reason"):
        watched.accept(" ")
    with pytest.raises(acceptances.NotAccepted, match="no check 'captions_keep'"):
        acceptances.accept(Store(watched.home), watched.instance, [watched.key], "captions_keep", "Ada", "x")
    assert Store(watched.home).version("acceptances") is None


def test_new_code_or_settings_move_shares_with_a_warning(watched):
    watched.run()
    watched.share, watched.code = 0.5, "2"
    found, went_on = watched.run()
    assert went_on and not found.passed and found.severity == dg.AssetCheckSeverity.WARN
    assert watched.run()[0].passed, "and that is the state to compare with"
    watched.share = 0.9
    assert not watched.run()[1]


def test_a_check_of_its_own_can_be_accepted_too(tmp_path):
    """Absolute ones: it counts for the table that was accepted, and no other."""
    rows = {"x": [1]}

    @dg.asset
    def numbers() -> pl.DataFrame:
        return pl.DataFrame(rows)

    @stage.asset_check(asset=numbers, blocking=True)
    def small(numbers: pl.DataFrame) -> dg.AssetCheckResult:
        """No number is large."""
        return stage.check(numbers["x"].max() < 5, largest=numbers["x"].max())

    with dg.DagsterInstance.ephemeral() as instance:

        def run():
            done = dg.materialize(
                [numbers, small],
                instance=instance,
                resources={"io_manager": dg.mem_io_manager},
                raise_on_error=False,
                run_config=QUIET,
            )
            return done.get_asset_check_evaluations()[0], done.success

        rows["x"] = [7]
        assert not run()[1]
        (key,) = small.check_keys
        acceptances.accept(Store(tmp_path), instance, [key], "numbers:small", "Ada", "known")
        found, went_on = run()
        assert went_on and not found.passed and found.severity == dg.AssetCheckSeverity.WARN
        assert found.metadata["accepted_by"].value == "Ada" and found.metadata["reason"].value == "known"
        rows["x"] = [8]
        assert not run()[1]


def test_weights_that_are_not_finite_are_named(tmp_path):
    import torch
    from safetensors.torch import save_file

    from inference import weights

    save_file({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])}, tmp_path / "one.safetensors")
    (tmp_path / "unet").mkdir()
    save_file({"c": torch.tensor([float("inf")], dtype=torch.bfloat16)}, tmp_path / "unet" / "x.safetensors")
    assert weights.not_finite(tmp_path) == ["one.safetensors: b", "unet/x.safetensors: c"]


def test_a_sample_that_is_missing_or_there_twice_is_not_the_protocol():
    from assets.experiment.generated_samples import complete

    samples = pl.DataFrame({"sample_id": ["a", "b"]})
    drawn = samples.with_columns(kind=pl.lit("individual"), file=pl.lit("f.png"))
    assert complete(drawn, samples).passed
    assert not complete(drawn.head(1), samples).passed
    assert not complete(pl.concat([drawn.head(1)] * 2), samples).passed
    assert not complete(drawn.with_columns(file=pl.lit(None, dtype=pl.String)), samples).passed
