"""Wall-clock: what is measured adds up. Nothing here depends on how fast the machine is."""

import json

import pytest
from conftest import tiny_experiment

from sbmrl.benchmark.ceilings import measure_ceilings
from sbmrl.benchmark.counts import Work
from sbmrl.benchmark.phases import Phase
from sbmrl.benchmark.wall_clock import measure_wall_clock
from sbmrl.cli import main
from sbmrl.experiment.program import make_program
from sbmrl.sweep import execute, memory

pytestmark = pytest.mark.xdist_group("cli")


def test_a_measurement_adds_up():
    experiment = tiny_experiment("mal", num_records=4)
    program = make_program(experiment)
    measured = measure_wall_clock(experiment, num_seeds=3, num_repeats=2)
    assert set(measured.records) == {"pretrain", "play"}
    assert measured.trace > 0
    assert measured.compile > 0
    assert measured.run >= 4 * sum(measured.records.values())
    assert measured.steps == sum(4 * stage.steps_per_record for stage in program.stages)
    assert measured.seconds_per_seed == measured.run / 3
    assert measured.seeds_per_hour * measured.seconds_per_seed == pytest.approx(3600)
    assert measured.steps_per_second * measured.run == pytest.approx(3 * measured.steps)
    assert 0 < measured.needed_bytes < measured.resident_bytes


def test_ceilings_are_of_this_world():
    """A product of matrices reads each number many times, a copy once."""
    ceilings = measure_ceilings()
    assert 1e8 < ceilings.operations < 1e16
    assert 1e8 < ceilings.bytes < 1e14


PHASE = Phase("leader", "update", 128, seconds=0.5, work=Work(operations=10**9, products=10**8, bytes=10**6))


def test_bench_leaves_tables_and_figure(tmp_path, capsys, monkeypatch):
    out = tmp_path / "bench"
    monkeypatch.setattr("sbmrl.commands.bench.measure_phases", lambda experiment, side, num_seeds: [PHASE])
    line = f"bench pal --schemes exact --num-seeds 1 8 --num-repeats 1 --out {out}"
    main(line.split())
    summary = json.loads((out / "bench.json").read_text())
    assert [line["num_seeds"] for line in summary["lines"]] == [1, 8]
    assert summary["machine"]["devices"] == ["cpu:cpu"] * 4
    table = (out / "bench.md").read_text()
    assert table.count("| PAL | exact |") == 2
    assert table.count("| leader | update | 128 |") == 2  # one for each side
    assert summary["phases"][0]["work"]["products"] == 10**8
    assert summary["phases"][0]["operations_per_second"] == pytest.approx(128 * 2e9)
    assert (out / "bench.png").stat().st_size > 1000
    assert "PAL" in capsys.readouterr().out


def test_more_seeds_than_pay_go_in_chunks(monkeypatch):
    """All chunks are run of the exact scheme, one of the others; both count all seeds."""
    monkeypatch.setattr(execute, "room", lambda width, bytes_each, free: memory.Room(width, 4))
    for scheme, entire in (("exact", True), ("contextual", False)):
        measured = measure_wall_clock(tiny_experiment("mal", scheme), num_seeds=10, num_repeats=1)
        assert (measured.num_seeds, measured.side_by_side, measured.entire) == (10, 4, entire)
        assert measured.run >= 3 * 2 * sum(measured.records.values()) * (0.5 if entire else 1.0)
        assert measured.seconds_per_seed == measured.run / 10
