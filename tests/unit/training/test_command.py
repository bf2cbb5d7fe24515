"""`python -m training` with two processes: killed and started again, locked, and already done."""

import fcntl
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_training import PROJECT, command, environment, lines, make_job, run, write_dataset, write_home

from training import __main__ as start
from training import loop, progress

STEPS = 60


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return write_home(tmp_path_factory.mktemp("command"))


def job(home, name, **settings):
    usual = {"steps": STEPS, "processes": 2, "checkpoint_every": 2, "log_every": 1}
    return make_job(home / "base", home / "data", home / name, **(usual | settings))


@pytest.fixture(scope="module")
def finished(home):
    """A training nobody disturbed, and what it said."""
    return job(home, "finished"), run(job(home, "finished"))


def adapter_bytes(job):
    folder = PROJECT / job.output / "model"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def wait_until_all_are_dead(job):
    """The processes inherit the lock, so it is free only when the last of them is gone."""
    deadline = time.monotonic() + 20
    with open(f"{job.output}/.lock") as lock:
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline, "a process outlived its killed parent"
                time.sleep(0.1)


def kill_in_mid_training(asked):
    """SIGKILL after step 5; back when all of its processes are dead."""
    with subprocess.Popen(command(asked), cwd=PROJECT, env=environment(), stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            if json.loads(line)["step"] >= 5:
                os.kill(process.pid, signal.SIGKILL)
                break
    wait_until_all_are_dead(asked)


def test_two_processes_train_and_speak_as_one(finished):
    asked, answer = finished
    assert answer.returncode == 0, answer.stderr
    assert [line["step"] for line in lines(answer.stdout)] == list(range(1, STEPS + 1))
    assert lines(answer.stdout) == progress.read(asked.output)


def test_killed_training_goes_on_to_the_same_bytes(home, finished):
    """SIGKILL in mid-training, then the same command: bit for bit the adapter of an undisturbed training."""
    asked = job(home, "killed")
    kill_in_mid_training(asked)
    assert not os.path.exists(f"{asked.output}/result.json")
    assert os.listdir(f"{asked.output}/checkpoints")
    answer = run(asked)
    assert answer.returncode == 0, answer.stderr
    first = lines(answer.stdout)[0]["step"]
    assert 5 <= first < STEPS, "it began anew"
    assert adapter_bytes(asked) == adapter_bytes(finished[0])
    curve = [(line["step"], line["loss"]) for line in progress.read(asked.output)]
    assert curve == [(line["step"], line["loss"]) for line in progress.read(finished[0].output)]


def test_asked_to_end_two_processes_leave_a_checkpoint_of_the_same_step(home, finished):
    """SIGTERM, and nobody reads what they say any more, as after the death of the run that started them."""
    asked = job(home, "ended", checkpoint_every=STEPS)
    with subprocess.Popen(command(asked), cwd=PROJECT, env=environment(), stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        process.terminate()
        assert process.wait(30) == start.STOPPED
    wait_until_all_are_dead(asked)
    (kept,) = os.listdir(f"{asked.output}/checkpoints")
    assert 1 <= int(kept.removeprefix("step-")) < STEPS
    answer = run(asked)
    assert answer.returncode == 0, answer.stderr
    assert lines(answer.stdout)[0]["step"] == int(kept.removeprefix("step-")) + 1
    assert adapter_bytes(asked) == adapter_bytes(finished[0])


def test_processes_listen_on_loopback_only(home):
    """What they exchange is gradients of faces, and who may join is whoever knocks."""
    asked = job(home, "listening", checkpoint_every=STEPS)
    seen = set()
    with subprocess.Popen(command(asked), cwd=PROJECT, env=environment(), stdout=subprocess.PIPE) as process:
        for _ in process.stdout:
            for child in psutil.Process(process.pid).children():
                listening = [c for c in child.net_connections("inet") if c.status == psutil.CONN_LISTEN]
                seen |= {connection.laddr.ip for connection in listening}
            process.kill()
            break
    wait_until_all_are_dead(asked)
    assert seen and all(ipaddress.ip_address(address).is_loopback for address in seen)


def test_two_processes_do_what_one_does(home, finished, tmp_path):
    """The same samples, noise and mean gradient: only rounding differs."""
    alone = job(home, tmp_path / "alone", processes=1, steps=STEPS, checkpoint_every=STEPS)
    loop.train(alone)
    losses = [[line["loss"] for line in progress.read(j.output)] for j in (alone, finished[0])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    for name, value in load_file(f"{alone.output}/model/adapter.safetensors").items():
        other = load_file(f"{finished[0].output}/model/adapter.safetensors")[name]
        torch.testing.assert_close(value, other, atol=2e-3, rtol=0)


def test_finished_training_is_not_repeated(finished, capfd):
    asked, _ = finished
    path = command(asked)[-1]
    assert start.main([path]) == 0
    assert capfd.readouterr().out == ""


def test_output_of_another_job_is_refused(home, finished, capfd):
    path = command(job(home, "finished", seed=3))[-1]
    assert start.main([path]) == 2
    assert "result of another job" in capfd.readouterr().err


def test_second_training_of_a_folder_is_refused(home, monkeypatch, capfd):
    asked = job(home, "locked", processes=1)
    monkeypatch.setenv("FINEFACE_LOCK_PATIENCE", "0.3")
    path = command(asked)[-1]
    with start._lock(home / "locked"):
        assert start.main([path]) == 2
    assert f"process {os.getpid()} holds" in capfd.readouterr().err


def test_impossible_job_says_why(home, tmp_path, capfd):
    assert start.main([str(tmp_path / "none.json")]) == 2
    assert "none.json" in capfd.readouterr().err


def test_a_failing_process_ends_the_others(home, tmp_path):
    asked = job(home, "broken")
    broken = write_dataset(tmp_path / "data")
    (broken / "shard-0.safetensors").unlink()
    answer = run(make_job(asked.base, broken, home / "broken", processes=2))
    assert answer.returncode == 2
    assert answer.stderr.count("error: latent shard") == 1
    wait_until_all_are_dead(asked)


# --- by accelerate's own launcher


def configuration(folder, machines=1, rank=0, port=0, **more):
    """A configuration of `accelerate launch`: two processes in all. MULTI_GPU is its name for one process a
    device; the job says that devices are CPUs."""
    said = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU",
        "num_machines": machines,
        "num_processes": 2,
        "machine_rank": rank,
        "main_process_ip": "127.0.0.1",
        "main_process_port": port,
        "same_network": True,
        "mixed_precision": "no",
        "use_cpu": False,
        **more,
    }
    path = folder / f"machine-{rank}.yaml"
    path.write_text(yaml.safe_dump(said))
    return path


def test_a_launched_training_is_killed_and_goes_on_to_the_bytes_of_one_never_disturbed(
    home, finished, tmp_path
):
    """By `accelerate launch`, with two processes; the undisturbed one was begun by ours."""
    asked = job(home, "launched", launch=configuration(tmp_path))
    kill_in_mid_training(asked)
    assert not os.path.exists(f"{asked.output}/result.json")
    answer = run(asked)
    assert answer.returncode == 0, answer.stderr
    assert 5 <= lines(answer.stdout)[0]["step"] < STEPS, "it began anew"
    assert adapter_bytes(asked) == adapter_bytes(finished[0])


def test_two_machines_train_as_two_processes_of_one(home, finished, tmp_path):
    """Two launchers that know of each other by an address only; the job begins on one, joins on the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    parts = [configuration(tmp_path, machines=2, rank=rank, port=port) for rank in (0, 1)]
    asked = job(home, "machines", launch=parts[0])
    path = command(asked)[-1]
    joins = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(parts[1])]
    joins += ["--module", "training", path]
    options = {"cwd": PROJECT, "env": environment(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(joins, **options, text=True) as second:
        first = run(asked)
        said, complaints = second.communicate()
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + complaints
    assert [line["step"] for line in lines(first.stdout)] == [*range(1, STEPS + 1)] and said == ""
    assert adapter_bytes(asked) == adapter_bytes(finished[0])


def test_launched_processes_that_cannot_share_the_batch_are_refused(home, tmp_path):
    odd = job(home, "odd", processes=1, batch_size=3, launch=configuration(tmp_path))
    answer = run(odd)
    assert answer.returncode != 0
    assert answer.stderr.count("batch_size 3 cannot be divided by the 2 processes") == 1
    missing = run(job(home, "missing", launch=tmp_path / "none.yaml"))
    assert missing.returncode == 2 and "none.yaml is no file" in missing.stderr
