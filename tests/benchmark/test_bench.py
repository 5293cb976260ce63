"""Wall-clock: what is measured adds up. Nothing here depends on how fast the machine is."""

import json

import pytest
from conftest import tiny_experiment

from sbmrl.benchmark import ceilings
from sbmrl.benchmark.counts import Work
from sbmrl.benchmark.phases import Phase
from sbmrl.benchmark.wall_clock import measure_wall_clock
from sbmrl.cli import main
from sbmrl.experiment.program import make_program
from sbmrl.sweep import execute, memory

pytestmark = pytest.mark.xdist_group("cli")


# Of those with two stages the smallest; a record of it is one of those that test_cli.py runs, in the same worker.
CONTEXTUAL = tiny_experiment("pal", "contextual", "gradient", num_records=4, leader__num_updates=8)


@pytest.fixture
def small_ceilings(monkeypatch):
    """Arrays of a megabyte: what is measured with them says little of the machine, and takes no time."""
    monkeypatch.setattr(ceilings, "_SIDE", {"cpu": 512})
    monkeypatch.setattr(ceilings, "_NUMBERS", {"cpu": 2**18})


@pytest.fixture(autouse=True, scope="module")
def prepared():
    """As before every command, so that all programs here are compiled alike and the same one once."""
    execute.prepare_devices()


def test_a_measurement_adds_up():
    program = make_program(CONTEXTUAL)
    measured = measure_wall_clock(CONTEXTUAL, num_seeds=4, num_repeats=2)
    assert set(measured.records) == {"pretrain", "play"}
    assert measured.trace > 0
    assert measured.compile > 0
    assert measured.run >= 4 * sum(measured.records.values())
    assert measured.steps == sum(4 * stage.steps_per_record for stage in program.stages)
    assert measured.seconds_per_seed == measured.run / 4
    assert measured.seeds_per_hour * measured.seconds_per_seed == pytest.approx(3600)
    assert measured.steps_per_second * measured.run == pytest.approx(4 * measured.steps)
    assert 0 < measured.needed_bytes < measured.resident_bytes


def test_ceilings_are_of_this_world(small_ceilings):
    """A product of matrices reads each number many times, a copy once."""
    found = ceilings.measure_ceilings()
    assert 1e8 < found.operations < 1e16
    assert 1e8 < found.bytes < 1e14


PHASE = Phase("leader", "update", 128, seconds=0.5, work=Work(operations=10**9, products=10**8, bytes=10**6))


def test_bench_leaves_tables_and_figure(tmp_path, capsys, monkeypatch, small_ceilings, own_cache):
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
    monkeypatch.setattr(execute, "first_guess", lambda width: 4)
    monkeypatch.setattr(execute, "room", lambda width, bytes_each, free: memory.Room(width, 4))
    for experiment, entire in ((tiny_experiment("pal", "exact"), True), (CONTEXTUAL, False)):
        measured = measure_wall_clock(experiment, num_seeds=10, num_repeats=1)
        assert (measured.num_seeds, measured.side_by_side, measured.entire) == (10, 4, entire)
        records = experiment.num_records * sum(measured.records.values())
        assert measured.run >= 3 * records * (0.5 if entire else 1.0)
        assert measured.seconds_per_seed == measured.run / 10
