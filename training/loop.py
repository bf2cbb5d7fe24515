"""The training loop, whatever is trained (`training.task`): one process's part. `__main__` starts it."""

import contextlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import torch
from accelerate import Accelerator

import methods.registry
from inference import devices
from store import disk, file_system
from store.hashing import hash_folder
from training.checkpoints import Checkpoints, State, flush
from training.denoising import Denoising
from training.editing import Editing
from training.job import DRAWS_FILE, MODEL_FOLDER, RENDEZVOUS, RESULT_FILE, JobError, TrainingJob
from training.progress import Progress, write
from training.samples import Samples
from training.task import Exchange, Task

SAMPLES_FOLDER, CHECKPOINTS_FOLDER, TRACKING_FOLDER = "samples", "checkpoints", "tracking"
TRACKED = ("loss", "held_out_loss", "samples_per_second")


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number."""


def train(job: TrainingJob, asked_to_stop: Callable[[], bool] = lambda: False) -> bool:
    """Train the model of `job`, from its last checkpoint if it has one; all of its processes call this.

    Leaves in the output folder model/, result.json, progress.jsonl and samples/; whether it came so far. Once
    `asked_to_stop` in any of the processes, they end after their step, with a checkpoint. Raises JobError
    where the job, its data, its base and the machine's memory do not fit, DiskFull, and TrainingDiverged for
    a loss not finite.
    """
    with _memory_errors_named(job), disk.full_disk_named(Path(job.output), 0, "the training"):
        return _train(job, asked_to_stop)


def _train(job: TrainingJob, asked_to_stop: Callable[[], bool]) -> bool:
    settings, output = job.loop, Path(job.output)
    accelerator = _accelerator(job)
    output.mkdir(parents=True, exist_ok=True)
    task = _task(job, accelerator)
    checkpoints = Checkpoints(output / CHECKPOINTS_FOLDER, job.checkpoint_identity())
    state = checkpoints.resume(task.parameters, task.optimisers)
    accelerator.wait_for_everyone()  # the first process may soon remove what another still reads
    main = accelerator.is_main_process
    progress = Progress(output, settings.steps, settings.batch_size, state) if main else None
    exchange = Exchange(accelerator, asked_to_stop)

    losses: list[torch.Tensor] = []
    for step in range(state.step, settings.steps):
        losses.append(task.step(step, exchange))

        done = state.step = step + 1
        last = done == settings.steps
        validates = task.watched and (_due(done, settings.validate_every) or last)
        logs = _due(done, settings.log_every) or validates or last
        saves = (_due(done, settings.checkpoint_every) or exchange.stopped) and not last
        if logs or saves:
            _add_losses(state, losses, task.samples, accelerator)
        held_out_loss = task.held_out_loss() if validates else None
        if progress is not None:
            if logs:
                line = progress.report(done, state.loss_sum / state.loss_count, held_out_loss)
                accelerator.log({name: line[name] for name in TRACKED if name in line}, step=done)
            if settings.sample_every and (_due(done, settings.sample_every) or last):
                _draw_sheet(task, output / SAMPLES_FOLDER / f"step-{done:08d}.png")
        if logs:
            state.loss_sum, state.loss_count = 0.0, 0
        if progress is not None and saves:
            state.seconds = progress.seconds()
            checkpoints.save(state, task.parameters, task.optimisers)
        if exchange.stopped:
            break
    whole = state.step == settings.steps
    if progress is not None and whole:
        _note_draws(task.samples, settings.steps, output / DRAWS_FILE)
        _finish(task, job, progress)
        checkpoints.remove()
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return whole


def _due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


@contextlib.contextmanager
def _memory_errors_named(job: TrainingJob) -> Iterator[None]:
    """Turn an out-of-memory error, which says nothing of settings, into one that names those to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not devices.is_out_of_memory(error):
            raise
        raise JobError(
            "out of memory although the training already takes as few samples at once as it can: "
            f"{job.loop.where_memory_is_short}. ({(str(error).splitlines() or [''])[0][:200]})"
        ) from error


def _accelerator(job: TrainingJob) -> Accelerator:
    cpu = devices.pick(job.device).type == "cpu"
    world = int(os.environ.get("WORLD_SIZE", 1))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if not cpu and torch.cuda.is_available() and here > torch.cuda.device_count():
        raise JobError(f"{here} processes, but {torch.cuda.device_count()} GPUs")
    if world > 1 and not torch.distributed.is_initialized():
        # A file, where torch's own choice would be a port that listens on all interfaces; processes of
        # several machines have no other.
        meeting = os.environ.get(RENDEZVOUS)
        torch.distributed.init_process_group(
            "gloo" if cpu else "nccl",
            init_method="env://" if meeting is None else f"file://{meeting}",
            rank=int(os.environ["RANK"]),
            world_size=world,
        )
    # TF32: what is left in float32 (the trained weights, all without bfloat16) at the pace of NVIDIA's tensor
    # cores. Says nothing to a CPU.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=job.loop.mixed_precision,
        log_with=[*job.loop.trackers] or None,
        project_dir=Path(job.output) / TRACKING_FOLDER,
    )
    if lacking := set(job.loop.trackers) - {str(one) for one in accelerator.log_with}:
        raise JobError(f"trackers: {', '.join(sorted(lacking))} is not installed")  # accelerate says nothing
    if accelerator.log_with:
        accelerator.init_trackers("fineface")
    return accelerator


def _task(job: TrainingJob, accelerator: Accelerator) -> Task:
    """The model of `job`, ready to be trained."""
    method = methods.registry.get(job.loop.method)
    model = method.trained_model(job.loop)
    kind: type[Denoising | Editing] = Editing if method.edits else Denoising
    return kind(job, model, accelerator)


def _add_losses(state: State, losses: list[torch.Tensor], data: Samples, accelerator: Accelerator) -> None:
    """Add the losses of the last steps. Raises TrainingDiverged, naming the first step that is not finite."""
    means = accelerator.reduce(torch.stack(losses), "mean").tolist()
    for place, mean in enumerate(means):
        if not math.isfinite(mean):
            step = state.step - len(means) + place
            names = [data.sample_ids[sample] for sample in data.samples(step).tolist()]
            raise TrainingDiverged(
                f"the loss of step {step + 1} is {mean}: lower learning_rate, or look at its samples: "
                f"{', '.join(names)}"
            )
    state.loss_sum += math.fsum(means)
    state.loss_count += len(means)
    losses.clear()


def _draw_sheet(task: Task, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    task.sheet().save(path)


def _note_draws(data: Samples, steps: int, path: Path) -> None:
    """How often each sample was drawn, for those who ask later what it had a part in."""
    table = pl.DataFrame({"sample_id": data.sample_ids, "draws": data.draws(steps).numpy()})
    buffer = io.BytesIO()
    table.sort("sample_id").write_parquet(buffer)
    file_system.write(path, buffer.getvalue())


def _finish(task: Task, job: TrainingJob, progress: Progress) -> None:
    output = Path(job.output)
    draft, folder = output / f".{MODEL_FOLDER}", output / MODEL_FOLDER
    for old in (draft, folder):
        shutil.rmtree(old, ignore_errors=True)
    task.save(draft)
    for path in (*draft.iterdir(), draft):
        flush(path)
    draft.rename(folder)
    flush(output)
    result = {
        "steps": job.loop.steps,
        "final_loss": round(progress.final_loss(), 6),
        "seconds": round(progress.seconds(), 2),
        "parameters": sum(parameter.numel() for parameter in task.parameters.values()),
        "content": hash_folder(folder),
        "identity": job.checkpoint_identity(),
    }
    write(output / RESULT_FILE, json.dumps(result, indent=2) + "\n")
