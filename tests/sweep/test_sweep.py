"""Sweeps: what is killed, damaged or too large goes on and ends with the same bits."""

import concurrent.futures
import datetime
import functools
import itertools
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import polars as pl
import pytest

from sbmrl.cli import main
from sbmrl.commands import common
from sbmrl.commands.common import output_directory
from sbmrl.errors import InputError
from sbmrl.experiment.program import make_program
from sbmrl.sweep import checkpoint, execute, run, store
from sbmrl.sweep.files import locked
from sbmrl.sweep.memory import Room

pytestmark = pytest.mark.xdist_group("sweep")  # so that one worker compiles what several tests run

TINY = shlex.split("--no-report --num-records 3 --leader.num-updates 6 --num-random-leaders 4 --num-eval-episodes 3")
GRID = ["--grid", "follower.temperature=0.1,0.3", "--grid", "leader.learning_rate=0.05,0.1"]
# What compiles fastest: nothing here is about what is learned.
LINE = ["sweep", "pal", "--scheme", "implicit", "--num-seeds", "6", "--chunk-size", "8", *TINY, *GRID]


@pytest.fixture(scope="module", autouse=True)
def traced_once():
    """A program that this process has traced and compiled before is not traced again, as by another command it is."""

    @functools.cache
    def engine(experiment, width, root_seed):
        return execute.Engine(experiment, make_program(experiment), width, root_seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "make_program", lambda experiment, world: None)
        patch.setattr(run, "Engine", lambda experiment, program, width, seed, *told: engine(experiment, width, seed))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep that nobody disturbed: 24 runs in chunks of 8."""
    out = tmp_path_factory.mktemp("sweep") / "whole"
    main([*LINE, "--out", str(out)])
    return out


CELL = "pal-implicit-simple_mdp_2"


def same(left, right):
    one, other = (pl.read_parquet(path / "results.parquet") for path in (left, right))
    assert one.equals(other)
    one, other = (pl.read_parquet(path / CELL / "metrics.parquet") for path in (left, right))
    assert one.equals(other)


def test_a_sweep_has_a_row_a_run_and_a_line_a_point(finished):
    results = pl.read_parquet(finished / "results.parquet")
    assert len(results) == 2 * 2 * 6
    for point in itertools.product((0.1, 0.3), (0.05, 0.1)):
        axes = zip(("follower.temperature", "leader.learning_rate"), point, strict=True)
        near = [(pl.col(name) - value).abs() < 1e-6 for name, value in axes]
        assert results.filter(*near)["seed"].to_list() == list(range(6))
    table = (finished / "table.md").read_text()
    assert table.count("| PAL, follower.temperature ") == 4
    chunks = finished / CELL / "chunks"
    assert [path.name for path in sorted(chunks.iterdir())] == ["00000000", "00000008", "00000016"]
    assert not list(finished.rglob("*.tmp"))


def test_points_and_chunks_do_not_change_a_run(finished, tmp_path):
    """A run of the sweep is the run of `train` with the same seed and values."""
    out = tmp_path / "alone"
    line = ["train", "pal", "--scheme", "implicit", "--follower.temperature", "0.3", "leader.learning_rate=0.1"]
    main([*line, "--num-seeds", "6", *TINY, "--out", str(out)])
    alone = pl.read_parquet(out / "results.parquet")
    swept = pl.read_parquet(finished / "results.parquet")[-6:]
    for name in ("exact_return", "fit", "random_fit"):
        np.testing.assert_allclose(alone[name], swept[name], rtol=1e-4, atol=1e-5)


def test_a_finished_sweep_resumes_to_itself(finished):
    before = (finished / "results.parquet").read_bytes()
    main([*LINE, "--out", str(finished), "--resume"])
    assert pl.read_parquet(before).equals(pl.read_parquet(finished / "results.parquet"))


def wait_for_checkpoint(out):
    deadline = time.monotonic() + 240
    while not list(out.rglob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_runs_resume_to_the_same_bits(finished, tmp_path, number):
    """A checkpoint after every record; killed behind the first one."""
    out = tmp_path / "killed"
    line = [*LINE, "--out", str(out), "--checkpoint-seconds", "1e-9"]
    process = subprocess.Popen([sys.executable, "-m", "sbmrl", *line], env=os.environ, stderr=subprocess.PIPE)
    wait_for_checkpoint(out)
    process.send_signal(number)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == (75 if number == signal.SIGTERM else -number)
    if number == signal.SIGTERM:
        assert b"go on with --resume" in printed
        assert list(out.rglob("step-????????"))
    assert not (out / "results.parquet").exists()
    main([*line, "--resume"])
    same(finished, out)


def start_processes(out, devices, *more):
    """The sweep by one process for each number of devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = []
    for index, count in enumerate(devices):
        own = os.environ | {"JAX_NUM_CPU_DEVICES": str(count)}
        distributed = ["--distributed", f"{address},{len(devices)},{index}"] if len(devices) > 1 else []
        line = [sys.executable, "-m", "sbmrl", *LINE, *more, *distributed, "--out", str(out)]
        started.append(subprocess.Popen(line, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return started


def finish(processes):
    """(exit code, stderr) of each."""
    printed = [process.communicate(timeout=200)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, printed, strict=True)]


def test_two_processes_of_two_devices_are_four_devices_bit_for_bit(finished, tmp_path):
    """The share of a device is two runs in both; what the second process would have to say, the first one says."""
    (first, told), (second, silent) = finish(start_processes(tmp_path / "two", (2, 2)))
    assert (first, second) == (0, 0), told + silent
    assert "24 of 24 runs" in told
    assert "runs" not in silent
    same(finished, tmp_path / "two")


def test_one_device_is_four_devices_up_to_rounding(finished, tmp_path):
    ((code, told),) = finish(start_processes(tmp_path / "one", (1,)))
    assert code == 0, told
    results, whole = (pl.read_parquet(path / "results.parquet") for path in (tmp_path / "one", finished))
    for name in ("exact_return", "fit", "random_fit", "model_return"):
        np.testing.assert_allclose(results[name], whole[name], rtol=1e-4, atol=1e-5)


def test_processes_that_are_refused_all_end_and_one_says_why(tmp_path):
    (tmp_path / "theirs").write_text("precious")
    (first, told), (second, silent) = finish(start_processes(tmp_path, (1, 1)))
    assert (first, second) == (2, 2)
    assert "out: must be a new or empty directory" in told
    assert "sbmrl: error" not in silent
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_stopped_processes_resume_as_one(finished, tmp_path):
    out = tmp_path / "stopped"
    processes = start_processes(out, (2, 2), "--checkpoint-seconds", "1e-9")
    wait_for_checkpoint(out)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [code for code, _ in finish(processes)] == [75, 75]
    assert not (out / "results.parquet").exists()
    main([*LINE, "--out", str(out), "--resume"])
    same(finished, out)


def test_a_process_that_is_lost_takes_the_others_with_it_and_the_sweep_resumes(finished, tmp_path):
    out = tmp_path / "lost"
    processes = start_processes(out, (2, 2), "--checkpoint-seconds", "1e-9")
    wait_for_checkpoint(out)
    processes[1].kill()
    (code, told), _ = finish(processes)
    assert code == 75
    assert "another process was lost; go on with --resume" in told
    main([*LINE, "--out", str(out), "--resume"])
    same(finished, out)


def test_cells_as_jobs_of_a_cluster(tmp_path, capfd):
    """submitit's local executor; a job that was already done is not done again."""
    line = [*LINE, "--grid", "leader.initial=uniform,random"]  # two cells whose programs start differently only
    out, alone = tmp_path / "jobs", tmp_path / "alone"
    main([*line, "--out", str(alone)])
    capfd.readouterr()
    main([*line, "--cluster", "local", "--cluster-options", "timeout_min=4", "--out", str(out)])
    assert "2 of 2 jobs have ended" in capfd.readouterr().err
    one, other = (pl.read_parquet(path / "results.parquet") for path in (alone, out))
    assert one.equals(other)
    (out / f"{CELL}-leader.initial=random" / "table.json").unlink()  # what a cell writes last
    main([*line, "--cluster", "local", "--out", str(out), "--resume"])
    assert "1 of 1 jobs have ended" in capfd.readouterr().err
    assert one.equals(pl.read_parquet(out / "results.parquet"))


def test_a_job_that_fails_is_named_with_its_log(finished, tmp_path, capsys):
    out = tmp_path / "jobs"
    shutil.copytree(finished, out)
    (out / CELL / "table.json").unlink()
    with locked(out / CELL):
        said = refused(capsys, *LINE, "--cluster", "local", "--out", str(out), "--resume").splitlines()[-1]
    assert "cluster: every job must end well" in said
    assert CELL in said
    (log,) = re.findall(r"log (\S+)\)", said)
    assert "is being written by another process" in Path(log).read_text()


def test_a_damaged_chunk_is_named_and_run_again(finished, tmp_path, capfd):
    out = tmp_path / "damaged"
    shutil.copytree(finished, out)
    path = out / CELL / "chunks" / "00000008" / "results.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    main([*LINE, "--out", str(out), "--resume"])
    assert "damaged (results.parquet has another checksum); it is run again" in capfd.readouterr().err
    same(finished, out)


def test_every_flipped_byte_of_a_checkpoint_is_found_and_the_older_one_used(tmp_path):
    state = {"x": np.arange(1000, dtype=np.float32)}
    like = {"x": jax.ShapeDtypeStruct((1000,), np.float32)}
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {"x": state["x"] * step}, {"more": b"bytes"})
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]
    last = checkpoint.checkpoints(tmp_path)[-1]
    files = [path for path in sorted(last.rglob("*")) if path.is_file() and path.stat().st_size]
    generator = np.random.default_rng(0)
    for _ in range(30):
        path = files[generator.integers(len(files))]
        good = path.read_bytes()
        place = generator.integers(len(good))
        path.write_bytes(good[:place] + bytes([good[place] ^ (1 << generator.integers(8))]) + good[place + 1 :])
        told: list[str] = []
        found = checkpoint.newest(tmp_path, told.append)
        assert found is not None
        assert checkpoint.step_of(found) == 2
        np.testing.assert_array_equal(checkpoint.read_state(found / "state", like)["x"], state["x"] * 2)
        assert len(told) == 1
        assert str(last) in told[0]
        path.write_bytes(good)
    assert checkpoint.newest(tmp_path, pytest.fail) == last


def test_a_full_disk_is_told_in_one_line_and_the_last_good_state_kept(tmp_path, monkeypatch, capfd):
    checkpoint.save(tmp_path, 1, {"x": np.ones(10)}, {})
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(InputError, match="No space left on device"):
        checkpoint.save(tmp_path, 2, {"x": np.ones(10)}, {})
    assert capfd.readouterr().err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_on_a_disk_too_full_for_the_states_the_numbers_are_kept(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    out = tmp_path / "full"
    assert "its numbers are in" in refused(capsys, *LINE, "--out", str(out))
    (kept,) = out.rglob("*.tmp")
    whole = pl.read_parquet(finished / "results.parquet")
    assert pl.read_parquet(kept / "results.parquet").equals(whole[:8])
    monkeypatch.undo()
    main([*LINE, "--out", str(out), "--resume"])
    same(finished, out)


def test_a_resumed_cell_keeps_its_chunks_however_much_memory_there_is(finished, tmp_path, monkeypatch):
    line = [word for word in LINE if word not in ("--chunk-size", "8")]
    out = tmp_path / "auto"
    monkeypatch.setattr(execute, "first_guess", lambda width: 8)
    monkeypatch.setattr(execute, "room", lambda width, bytes_each, free: Room(8, 16))
    main([*line, "--out", str(out)])
    same(finished, out)
    shutil.rmtree(out / CELL / "chunks" / "00000016")
    (out / "results.parquet").unlink()
    monkeypatch.setattr(execute, "room", pytest.fail)
    main([*line, "--out", str(out), "--resume"])
    same(finished, out)
    shutil.rmtree(out / CELL / "chunks" / "00000008")
    (out / CELL / "width.json").write_text("5")  # as after memory that did not suffice
    main([*line, "--out", str(out), "--resume"])
    seeds = pl.read_parquet(out / "results.parquet")["seed"]
    assert seeds.to_list() == pl.read_parquet(finished / "results.parquet")["seed"].to_list()


def test_out_of_memory_halves_the_chunks_and_goes_on(finished, tmp_path, monkeypatch, capfd):
    real = execute.Engine.run

    def hungry(self, runs, *more):
        if len(runs) > 8:
            raise MemoryError
        return real(self, runs, *more)

    monkeypatch.setattr(execute.Engine, "run", hungry)
    out = tmp_path / "hungry"
    main([*LINE, "--chunk-size", "16", "--out", str(out)])
    assert "out of memory, going on with 8 runs side by side" in capfd.readouterr().err
    results, whole = (pl.read_parquet(path / "results.parquet") for path in (out, finished))
    np.testing.assert_allclose(results["exact_return"], whole["exact_return"], rtol=1e-4, atol=1e-5)


def test_a_directory_is_written_by_one_process_at_a_time(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match="being written by another process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_two_commands_told_the_same_directory(finished, tmp_path, capsys):
    """The one that comes second writes nothing; a directory that was only locked before its run was killed is new."""
    out = tmp_path / "both"
    out.mkdir()
    with locked(out):
        assert "is being written by another process" in refused(capsys, *LINE, "--out", str(out))
        assert [path.name for path in out.iterdir()] == [".lock"]
    main([*LINE, "--out", str(out)])
    same(finished, out)


def test_commands_of_the_same_second_have_a_directory_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    now = datetime.datetime(2026, 1, 2, 3, 4, 5)
    monkeypatch.setattr(common, "datetime", SimpleNamespace(datetime=SimpleNamespace(now=lambda: now)))
    started = threading.Barrier(8, timeout=60)

    def command(number):
        with output_directory(None, "mal") as out:
            started.wait()  # all of them are open at once
            if number % 2:
                (out / "plan.json").write_text(str(number))
        return out

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = set(pool.map(command, range(8)))
    assert made == {Path("runs/mal-20260102-030405")} | {Path(f"runs/mal-20260102-030405-{n}") for n in range(2, 9)}
    kept = [path.read_text() for path in tmp_path.glob("runs/*/*")]
    assert sorted(kept) == ["1", "3", "5", "7"]
    assert len(list(tmp_path.glob("runs/*"))) == 4, "what holds nothing is removed"


def test_a_refused_command_leaves_no_directory(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no plan.json" in refused(capsys, *LINE, "--resume")
    assert not list(tmp_path.iterdir())
    Path("runs").mkdir()
    assert "no plan.json" in refused(capsys, *LINE, "--resume")
    assert not list(Path("runs").iterdir())
    Path("runs").rmdir()
    Path("runs").write_text("theirs")
    assert "cannot be written" in refused(capsys, *LINE)


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert printed.splitlines()[-1].startswith("sbmrl: error: ")  # behind the progress of a run that had begun
    assert printed.count("sbmrl: error") == 1
    return printed


def test_a_changed_plan_is_shown_and_nothing_lost(finished, tmp_path, capsys):
    before = sorted((path, path.stat().st_mtime_ns) for path in finished.rglob("*.parquet"))
    changed = [word.replace("0.1,0.3", "0.1,0.4") for word in LINE]
    said = refused(capsys, *changed, "--out", str(finished), "--resume")
    assert f"is another one: cells.{CELL}.axes" in said
    said = refused(capsys, *LINE, "--seed", "5", "--out", str(finished), "--resume")
    assert "seed: 0 -> 5" in said
    assert "must be a new or empty directory" in refused(capsys, *LINE, "--out", str(finished))
    assert "no plan.json" in refused(capsys, *LINE, "--out", str(tmp_path), "--resume")
    assert sorted((path, path.stat().st_mtime_ns) for path in finished.rglob("*.parquet")) == before


def test_store_knows_a_missing_chunk(tmp_path):
    assert store.chunk_size(tmp_path, 0, pytest.fail) == 0
