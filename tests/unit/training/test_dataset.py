"""The training data: which samples, noise and timesteps a step gets, and what a broken data set says."""

import resource

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from tiny_training import make_job, write_dataset

from methods import registry
from training.dataset import Dataset, _open_shard
from training.job import JobError

SMOOTHED = {"variance": 0.2, "round_probability": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("training") / "data")


def dataset(folder, **settings):
    said = {"smoothing": {"variance": 0.0, "round_probability": 0.0}, "text_dropout": 0.0} | settings
    job = make_job("base", folder, "out", **said)
    word = registry.wording(job.train)
    return Dataset(folder / "samples.parquet", job.loop, 0.5, train_timesteps=1000, word=word)


def fields(batch):
    return [batch.latents, batch.noise, batch.timesteps, batch.aus, batch.captions]


def test_batch_holds_the_samples_own_values(folder):
    data = dataset(folder)
    table = pl.read_parquet(folder / "samples.parquet")
    batch = data.batch(3)
    assert batch.latents.shape == batch.noise.shape == (4, 4, 8, 8)
    assert data.captions == ["", "a man", "a smiling", "a woman", "a young"]
    aus = torch.tensor(table.select(pl.col("^au.*$")).to_numpy())
    for row in range(4):
        (sample,) = (aus == batch.aus[row]).all(dim=1).nonzero().flatten().tolist()
        assert data.captions[batch.captions[row]] == table["caption"][sample]
        moments = load_file(folder / table["file"][sample])["moments"][table["row"][sample]].float()
        drawn = (batch.latents[row] / 0.5 - moments[:4]) / torch.exp(moments[4:] / 2)
        assert abs(drawn.std() - 1) < 0.25


def test_a_step_depends_on_seed_and_step_alone(folder):
    fresh, used = dataset(folder), dataset(folder)
    for step in range(25):
        used.batch(step)
    assert all(map(torch.equal, fields(fresh.batch(7)), fields(used.batch(7))))
    for other in (fresh.batch(8), dataset(folder, seed=1).batch(7)):
        assert not torch.equal(fresh.batch(7).noise, other.noise)
        assert not torch.equal(fresh.batch(7).timesteps, other.timesteps)


def test_processes_share_the_step_of_one(folder):
    data = dataset(folder, smoothing=SMOOTHED, text_dropout=0.3)
    whole, parts = fields(data.batch(2)), [fields(data.batch(2, rank, 2)) for rank in (0, 1)]
    for name, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(name, torch.stack([first, second], dim=1).flatten(0, 1))


def test_an_epoch_holds_every_sample_once(folder):
    data = dataset(folder)
    epochs = [torch.cat([data.samples(step) for step in range(e * 10, e * 10 + 10)]) for e in (0, 1)]
    assert all(sorted(epoch.tolist()) == list(range(40)) for epoch in epochs)
    assert not torch.equal(*epochs)


def test_batches_may_be_larger_than_the_data(tmp_path):
    data = dataset(write_dataset(tmp_path / "data", samples=3), batch_size=8)
    assert torch.bincount(data.samples(0)).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_timesteps_are_stratified_and_uniform(folder):
    data = dataset(folder, batch_size=4)
    drawn = torch.stack([data.batch(step).timesteps for step in range(400)])
    assert torch.equal(drawn // 250, torch.arange(4).expand(400, 4))
    # each sample of the set meets all of the schedule
    samples = torch.stack([data.samples(step) for step in range(400)])
    means = torch.stack([drawn[samples == sample].float().mean() for sample in range(40)])
    assert abs(drawn.float().mean() - 499.5) < 8
    assert (means - 499.5).abs().max() < 200


def test_a_small_exponent_draws_more_of_the_noisy_timesteps(folder):
    data = dataset(folder, batch_size=4, timestep_exponent=0.5)
    drawn = torch.stack([data.batch(step).timesteps for step in range(400)])
    # t = 1000 sqrt(u): a quarter of the samples below 500, 707 and 866 each
    for part, (low, high) in enumerate([(0, 500), (500, 707), (707, 866), (866, 1000)]):
        assert ((drawn[:, part] >= low - 1) & (drawn[:, part] <= high)).all()
    assert abs(drawn.float().mean() - 666.7) < 8


def test_unconditional_samples_lose_text_and_aus_together(folder):
    data = dataset(folder, text_dropout=0.25, smoothing=SMOOTHED)
    batches = [data.batch(step) for step in range(100)]
    captions, aus = torch.cat([b.captions for b in batches]), torch.cat([b.aus for b in batches])
    dropped = captions == 0
    assert 0.18 < dropped.float().mean() < 0.32
    assert not aus[dropped].any()
    assert aus[~dropped].any(dim=1).all()


def test_aus_may_be_dropped_by_themselves(folder):
    """Of the samples that keep their text; all else is as without it."""
    plain, data = (dataset(folder, text_dropout=0.25, au_dropout=share) for share in (0.0, 0.25))
    batches = [(plain.batch(step), data.batch(step)) for step in range(100)]
    before, after = (torch.cat([pair[place].aus for pair in batches]) for place in (0, 1))
    captions = torch.cat([batch.captions for _, batch in batches])
    unconditional, neutral = captions == 0, ~after.any(dim=1)
    assert 0.18 < unconditional.float().mean() < 0.32 and neutral[unconditional].all()
    assert 0.18 < (neutral & ~unconditional).float().mean() < 0.32
    assert torch.equal(after[~neutral], before[~neutral])
    for old, new in batches:
        assert torch.equal(old.captions, new.captions) and torch.equal(old.noise, new.noise)


def test_words_for_aus_are_dropped_from_the_caption(folder):
    job = make_job("base", folder, "out")
    said = {"method": "lora_t", "batch_size": 4, "text_dropout": 0.0, "au_dropout": 0.5}
    settings = type(job).model_validate(job.model_dump() | {"train": said}).loop
    data = Dataset(folder / "samples.parquet", settings, 0.5, 1000, registry.wording(settings))
    table = pl.read_parquet(folder / "samples.parquet")
    worded, plain = 0, 0
    for step in range(20):
        for sample, caption in zip(data.samples(step), data.batch(step).captions, strict=True):
            said, bare = data.captions[caption], table["caption"][sample.item()]
            assert said == bare or said.startswith(f"{bare}, ")
            worded, plain = worded + (said != bare), plain + (said == bare)
    assert min(worded, plain) > 20


def test_labels_are_smoothed(folder):
    raw, smoothed = dataset(folder).batch(0).aus, dataset(folder, smoothing=SMOOTHED).batch(0).aus
    assert torch.equal(raw, raw.round())
    assert not torch.equal(smoothed, smoothed.round())


def test_held_out_samples_are_always_the_same(folder):
    """Every sample once, timesteps over the whole schedule, nothing dropped or smoothed."""
    data = dataset(folder, text_dropout=1.0, smoothing=SMOOTHED)
    draws = data.held_out()
    assert [len(draw.aus) for draw in draws] == [4] * 10
    whole = [torch.cat(parts) for parts in zip(*map(fields, draws), strict=True)]
    assert whole[2].tolist() == [int((i + 0.5) * 25) for i in range(40)]
    assert torch.equal(whole[3], whole[3].round()) and (whole[4] > 0).all()
    table = pl.read_parquet(folder / "samples.parquet").select(pl.col("^au.*$"))
    assert sorted(whole[3].tolist()) == sorted(map(list, table.rows()))
    shares = [
        [
            torch.cat(parts)
            for parts in zip(*map(fields, dataset(folder, seed=3).held_out(rank, 2)), strict=True)
        ]
        for rank in (0, 1)
    ]
    for name, first, second in zip(whole, *shares, strict=True):
        assert torch.equal(name, torch.stack([first, second], dim=1).flatten(0, 1))
    assert len(torch.cat([draw.aus for draw in data.held_out(most=7)])) == 7


def test_a_process_without_a_held_out_sample_draws_none(folder):
    data = dataset(folder)
    assert [len(data.held_out(rank, 3, most=1)) for rank in (0, 1, 2)] == [1, 0, 0]


def test_shards_are_mapped_not_read(tmp_path):
    """A shard of 4 GB, all holes in the file system, opens at once and costs no memory."""
    header = b'{"moments":{"dtype":"F16","shape":[250000,8,32,32],"data_offsets":[0,4096000000]}}'
    with (tmp_path / "big.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4_096_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    moments = _open_shard(tmp_path / "big.safetensors")
    assert moments[249_999].shape == (8, 32, 32)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def broken(tmp_path, change):
    folder = write_dataset(tmp_path / "data")
    path = folder / "samples.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop("caption", "au9"), "lacks the columns caption, au9"),
        (lambda t: t.clear(), "holds no samples"),
        (lambda t: t.with_columns(au9=pl.lit(None, pl.Float64)), r"empty values in au9 \(40 rows\)"),
        (lambda t: t.with_columns(au9=pl.lit(float("nan"))), "not finite in au9"),
        (lambda t: t.with_columns(au9=pl.lit("strong")), "strong"),
        (lambda t: t.with_columns(file=pl.lit("none.safetensors")), r"none\.safetensors is missing"),
        (lambda t: t.with_columns(row=pl.col("row") + 10), "rows 10–25 are wanted|rows 10–17 are wanted"),
    ],
)
def test_broken_tables_are_named(tmp_path, change, message):
    with pytest.raises(JobError, match=message):
        dataset(broken(tmp_path, change))


def test_broken_files_are_named(tmp_path):
    with pytest.raises(JobError, match=r"samples\.parquet is missing"):
        dataset(tmp_path)
    folder = write_dataset(tmp_path / "data")
    shard = folder / "shard-1.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(JobError, match=r"shard-1\.safetensors is damaged"):
        dataset(folder)
    (folder / "samples.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(JobError, match="no parquet"):
        dataset(folder)


@pytest.mark.parametrize("steps", [0, 1, 7, 40])
def test_draws_count_the_batches(folder, steps):
    data = dataset(folder, seed=3)
    seen = torch.cat([torch.zeros(0, dtype=torch.int64), *(data.samples(step) for step in range(steps))])
    assert data.draws(steps).tolist() == torch.bincount(seen, minlength=len(data)).tolist()
