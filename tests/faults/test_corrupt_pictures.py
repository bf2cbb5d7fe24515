"""Pictures that are corrupt behind a sound header: the first stage that decodes them drops them."""

from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest
from tiny_raw import picture, write
from told import told

import facs
from assets.data_set import au_annotation, captions, face_crop, photorealism, raw, resolution
from inference.abilities import Answer, Reading
from inference.images import ImageError
from settings.profile import BlipCaptions, BlipPhotorealism, LocalEngine, Rendered, VouchedPhotorealism
from store import Store
from store.hashing import hash_file


class Annotator:
    name, fingerprint, batch_size, side = "m@1", "f", 2, None

    def prepare(self, picture):
        return picture


class Blip2(Annotator):
    """Says yes to the second question."""

    def ask_all(self, pictures, questions):
        answers = [Answer("no", 0.1), Answer("yes", 0.9)]
        return [dict(zip(questions, answers, strict=True)) for _ in pictures]

    def caption(self, pictures):
        return ["a face"] * len(pictures)


class Estimator(Annotator):
    def estimate(self, pictures):
        return [Reading((1.0,) * len(facs.COLUMNS), 1, None) for _ in pictures]


def corrupt_jpeg() -> bytes:
    """Its scan says it has nine components, which no reader of headers looks at."""
    content = bytearray(picture(7, 64, 64, "JPEG", noise=True))
    content[content.index(b"\xff\xda") + 4] = 9
    return bytes(content)


@pytest.fixture
def portraits(tmp_path) -> Path:
    """Four sound pictures, a JPEG cut off and a JPEG corrupt inside."""
    folder = tmp_path / "portraits"
    for shade in range(4):
        write(folder / f"good{shade}.jpg", picture(shade, 64, 64, "JPEG", noise=True))
    write(folder / "cut.jpg", picture(5, 64, 64, "JPEG", noise=True)[:1500])
    write(folder / "rubble.jpg", corrupt_jpeg())
    return folder


JUDGED_BY = {
    "blip2": BlipPhotorealism(
        provider="blip2",
        model="none",
        questions={"cartoon": "a?", "real": "b?"},
        thresholds={"cartoon": 0.5, "real": 0.5},
    ),
    "vouched": VouchedPhotorealism(provider="vouched", by="Ann"),
}


def annotate_with_these(monkeypatch):
    made = {"answers": Blip2, "captions": Blip2, "action_units": Estimator}
    monkeypatch.setattr("inference.abilities.build", lambda ability, settings: made[ability]())


def materialised(
    portraits: Path, home: Path, monkeypatch, provider: str, limit: float
) -> dg.ExecuteInProcessResult:
    annotate_with_these(monkeypatch)
    profile = SimpleNamespace(
        raw=SimpleNamespace(affectnet=None, disfa=None, folder=portraits),
        rendered=Rendered(),
        sources=("folder",),
        base=SimpleNamespace(size=64),
        limits={"quarantined": limit, "no_face": 0.0, "cut_faces": 0.0},
        chunk=3,
        engine=LocalEngine(),
        framing=SimpleNamespace(affectnet="squash", disfa="squash", folder="squash", margin=0.25),
        resolution=SimpleNamespace(min_side=64, inclusive=True),
        corrections=SimpleNamespace(recipe="paper"),
        photorealism=JUDGED_BY[provider],
        au_estimator=SimpleNamespace(
            provider="miniature.estimator:TinyEstimator",
            chosen={"provider": "miniature.estimator:TinyEstimator"},
            rival=None,
        ),
    )
    rooms = (raw, face_crop, resolution, photorealism, au_annotation)
    return dg.materialize(
        [*dg.load_assets_from_modules(rooms), *dg.load_asset_checks_from_modules(rooms)],
        selection=dg.AssetSelection.assets("au_annotation").upstream(),
        resources={
            "store": Store(home, {"raw_folder": portraits}),
            "profile": profile,
            "io_manager": dg.mem_io_manager,
        },
    )


@pytest.mark.parametrize(("provider", "stage"), [("blip2", "photorealism"), ("vouched", "au_annotation")])
def test_the_first_stage_that_decodes_drops_what_is_corrupt(
    portraits, tmp_path, monkeypatch, provider, stage
):
    run = materialised(portraits, tmp_path / "home", monkeypatch, provider, limit=0.1)
    assert run.success
    (cut,) = told(run.output_for_node("raw_folder").filter(~pl.col("keep")))
    assert cut.startswith("truncated_image: cut.jpg: "), "seen by its missing end already"
    table = run.output_for_node(stage)
    assert table["keep"].to_list() == [True] * 4 + [False]
    assert told(table)[4].startswith("corrupt_image: ")
    failed = {check.check_name for check in run.get_asset_check_evaluations() if not check.passed}
    assert failed == {"raw_folder_quarantine_small", f"{stage}_decodes_most"}
    (counted,) = [c for c in run.get_asset_check_evaluations() if c.check_name == f"{stage}_decodes_most"]
    assert counted.metadata["corrupt"].value == 1


def test_again_only_the_corrupt_picture_is_tried_and_no_model_called(portraits, tmp_path, monkeypatch):
    first = materialised(portraits, tmp_path / "home", monkeypatch, "blip2", limit=0.5)
    monkeypatch.setattr(Blip2, "ask_all", lambda *arguments: pytest.fail("asked again"))
    again = materialised(portraits, tmp_path / "home", monkeypatch, "blip2", limit=0.5)
    assert again.output_for_node("photorealism").equals(first.output_for_node("photorealism"))
    (event,) = again.asset_materializations_for_node("photorealism")
    assert (event.metadata["model_calls"].value, event.metadata["reused"].value) == (0, 4)


def test_a_file_that_is_gone_fails_the_stage_instead(portraits, tmp_path, monkeypatch):
    """A disk that is away must not drop every picture."""
    annotate_with_these(monkeypatch)
    rows = [
        ("a", str(portraits / "good0.jpg"), hash_file(portraits / "good0.jpg")),
        ("b", str(portraits / "x.jpg"), "h"),
    ]
    table = pl.DataFrame(rows, schema=["sample_id", "path", "content_hash"], orient="row")
    settings = BlipCaptions(provider="blip2", model="none")
    profile = SimpleNamespace(chunk=8, engine=LocalEngine())
    with pytest.raises(ImageError, match=r"x\.jpg"):
        captions._written(dg.build_asset_context(), Store(tmp_path / "home"), settings, table, profile)
