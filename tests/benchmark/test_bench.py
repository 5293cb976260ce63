"""Wall-clock: what is measured adds up. Nothing here depends on how fast the machine is."""

import json

import pytest
from conftest import tiny_experiment

from sbmrl.benchmark.ceilings import measure_ceilings
from sbmrl.benchmark.wall_clock import measure_wall_clock
from sbmrl.cli import main
from sbmrl.program import make_program

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


def test_bench_leaves_table_and_figure(tmp_path, capsys):
    out = tmp_path / "bench"
    main(["bench", "pal", "--schemes", "exact", "--num-seeds", "1", "8", "--num-repeats", "1", "--out", str(out)])
    summary = json.loads((out / "bench.json").read_text())
    assert [line["num_seeds"] for line in summary["lines"]] == [1, 8]
    assert summary["machine"]["devices"] == ["cpu:cpu"] * 4
    table = (out / "bench.md").read_text()
    assert table.count("| PAL | exact |") == 2
    assert (out / "bench.png").stat().st_size > 1000
    assert "PAL" in capsys.readouterr().out
