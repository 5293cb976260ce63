"""`sbmrl report`: the page says what the files say, for runs finished or not, and bad input changes nothing."""

import json
import re
import shlex
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from conftest import tiny_experiment

from sbmrl.cli import main
from sbmrl.errors import InputError
from sbmrl.report.page import write_report
from sbmrl.report.table import cells
from sbmrl.sweep.load import load
from sbmrl.sweep.plan import make_plan, parse_axis
from sbmrl.sweep.run import Listener, PreemptedError, run_plan

pytestmark = pytest.mark.xdist_group("report")  # so that one worker makes the sweep that several tests read

TINY = shlex.split("--no-report --num-records 3 --leader.num-updates 6 --num-random-leaders 4 --num-eval-episodes 3")
LINE = ["sweep", "mal_random_noise", "mal", "--scheme", "exact", "--num-seeds", "4", "--chunk-size", "4", *TINY]
NOISE = "mal_random_noise-exact-simple_mdp_2"
ALIKE = "All rows ended alike"
SECTIONS = ["state", "table", "differences", "fooled", "worlds", "curves", "axes", "models", "certificates", "cost"]


class Page(HTMLParser):
    """The tables of a page by id, its anchors and text, and everything it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.figures: list[str] = []
        self.tags: list[str] = []
        self._table: list[list[str]] | None = None
        self._in_cell = False
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [str(found["id"])] if found.get("id") else []
        self.loaded += [str(found[name]) for name in ("src", "href", "xlink:href", "srcset", "data") if name in found]
        if tag == "svg":
            self.figures.append(str(found.get("aria-label", "")))
        if tag == "table":
            self._table = self.tables.setdefault(str(found.get("id")), [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th") and self._table is not None:
            self._table[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False
        elif tag == "table":
            self._table = None

    def handle_data(self, data):
        self.words += data
        if self._in_cell and self._table is not None:
            self._table[-1][-1] += data


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Two cells, one of two points: 12 runs in chunks of 4."""
    out = tmp_path_factory.mktemp("report") / "swept"
    main([*LINE, "--grid", "alpha=0.2,1", "--out", str(out)])
    return out


@pytest.fixture(scope="module")
def reported(swept, tmp_path_factory):
    """The report on it, made from the command line."""
    out = tmp_path_factory.mktemp("report") / "out"
    main(["report", str(swept), "--out", str(out)])
    return out


def page_in(directory: Path) -> Page:
    return Page((directory / "report.html").read_text(encoding="utf-8"))


def markdown_lines(path: Path) -> list[list[str]]:
    """The first table of a Markdown file."""
    lines = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    return [line.strip("| ").split(" | ") for line in [lines[0], *lines[2:]]]


def refused(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    printed = capsys.readouterr()
    assert stop.value.code == 2
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("sbmrl: error: ")
    return printed.err


def test_the_page_stands_alone(reported):
    page = page_in(reported)
    assert {path.name for path in reported.iterdir()} == {"report.html", "table.md", "table.json", "figures"}
    assert page.loaded
    assert all(address.startswith("#") for address in page.loaded)
    assert not set(page.tags) & {"script", "link", "img", "iframe", "object", "embed"}
    text = (reported / "report.html").read_text(encoding="utf-8")
    assert "http://" not in text
    assert not re.search(r"url\((?!#)|@import", text)
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.loaded} <= set(page.ids)
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    drawn = sorted(path.stem for path in (reported / "figures").glob("*.svg"))
    assert drawn == sorted(path.stem for path in (reported / "figures").glob("*.png"))
    assert {f"figure-{name}" for name in drawn} <= set(page.ids)
    assert len(page.figures) == len(drawn)
    assert all(page.figures)
    assert {"aggregates", "axis-1-alpha", "curves", "fooled", "model-1", "profiles"} <= set(drawn)


def test_the_page_says_what_the_files_say(reported, swept):
    page, data = page_in(reported), json.loads((reported / "table.json").read_text())
    table = page.tables["formulations"]
    assert table == markdown_lines(reported / "table.md")
    rows = json.loads((swept / "table.json").read_text())
    assert [row["label"] for row in data["rows"]] == [line[0] for line in table[1:]]
    for line, row, stored in zip(table[1:], data["rows"], rows, strict=True):
        assert stored.items() <= row.items()
        told = cells(stored, rows)[:-1]  # the seconds stand in the table of costs
        assert [text for i, text in enumerate(line) if i != 3] == [text for i, text in enumerate(told) if i != 3]
        bounds = row["interquartile_mean_interval"]
        assert line[3] == "{value:.2f} [{low:.2f}, {high:.2f}]".format(**bounds)
        assert bounds["value"] == pytest.approx(stored["interquartile_mean"])
    assert [cell["cell"] for cell in data["cells"]] == [NOISE, "mal-exact-simple_mdp_2"]
    assert data["commands"][0]["command"] in page.words
    assert data["date"] == data["commands"][0]["started"]
    assert page.tables["cells"][1] == [NOISE, "simple_mdp_2", "finished, 8 runs"]
    assert ALIKE not in page.words


def test_pairs_and_groups_are_those_of_the_results(reported, swept):
    data = json.loads((reported / "table.json").read_text())
    results = pl.read_parquet(swept / "results.parquet")
    returns = [results["exact_return"].to_numpy()[i : i + 4] for i in (0, 4, 8)]  # two points, then plain MAL
    assert [line["baseline"] for line in data["differences"]] == [data["rows"][0]["label"]] * 2
    for line, own in zip(data["differences"], returns[1:], strict=True):
        assert (line["pairs"], line["diverged"]) == (4, 0)
        assert line["difference"]["value"] == pytest.approx((own - returns[0]).mean(), abs=1e-5)
    optimum, uniform = results["optimal_return"][0], results["uniform_return"][0]
    for group, own in zip(data["groups"], returns, strict=True):
        assert group["mean"]["value"] == pytest.approx(((own - uniform) / (optimum - uniform)).mean(), abs=1e-6)


def test_the_same_files_give_the_same_report(reported, swept):
    before = {path: path.read_bytes() for path in reported.rglob("*") if path.is_file()}
    (reported / "figures" / "old.svg").write_text("of an earlier report")
    write_report([load(swept)], reported)
    assert {path: path.read_bytes() for path in reported.rglob("*") if path.is_file()} == before


def test_a_browser_reads_the_same_table(reported):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    address = (reported / "report.html").as_uri()
    done = subprocess.run([browser, *flags, address], capture_output=True, text=True, timeout=120, check=True)
    page = Page(done.stdout)
    assert page.tables["formulations"] == markdown_lines(reported / "table.md")
    labels = [row["label"] for row in json.loads((reported / "table.json").read_text())["rows"]]
    assert [line[0] for line in page.tables["formulations"][1:]] == labels


def test_an_unfinished_sweep_has_a_report(swept, tmp_path):
    """Half of the first cell done, the second planned only."""
    run = tmp_path / "run"
    shutil.copytree(swept, run)
    (run / NOISE / "results.parquet").unlink()
    shutil.rmtree(run / NOISE / "chunks" / "00000004")
    shutil.rmtree(run / "mal-exact-simple_mdp_2")
    page = page_in(write_report([load(run)], tmp_path / "out").parent)
    assert page.tables["cells"][1][-1] == "4 of 8 runs finished"
    assert page.tables["cells"][2][-1] == "not begun, 0 of 4 runs finished"
    assert "Not finished: 4 of 12 runs finished." in page.words
    assert page.tables["formulations"] == markdown_lines(tmp_path / "out" / "table.md")
    assert len(page.tables["formulations"]) == 2


def test_a_cell_in_which_every_seed_diverged_still_has_a_report(swept, tmp_path):
    cell = tmp_path / "cell"
    shutil.copytree(swept / NOISE, cell)
    results = pl.read_parquet(cell / "results.parquet")
    results.with_columns(pl.lit(False).alias("finite")).write_parquet(cell / "results.parquet")
    page = page_in(write_report([load(cell)], tmp_path / "out").parent)
    assert [line[2] for line in page.tables["formulations"][1:]] == ["–", "–"]
    assert page.tables["paired"][1][2:] == ["–", "–", "0", "4"]
    assert "No run has a score yet." in page.words
    assert "No command is recorded here" in page.words


def test_a_long_table_is_folded_and_whole(swept, tmp_path, monkeypatch):
    monkeypatch.setattr("sbmrl.report.page.MOST_ROWS", 2)
    page = page_in(write_report([load(swept)], tmp_path / "out").parent)
    assert "All 3 rows" in page.words
    assert "details" in page.tags
    assert len(page.tables["formulations"]) == 1 + 3


def test_several_directories_are_told_apart(swept, tmp_path):
    shutil.copytree(swept, tmp_path / "again")
    out = write_report([load(swept), load(tmp_path / "again")], tmp_path / "out").parent
    labels = [row["label"] for row in json.loads((out / "table.json").read_text())["rows"]]
    assert len(set(labels)) == 6
    assert [label.endswith("(again)") for label in labels] == [False] * 3 + [True] * 3
    assert len(page_in(out).tables["formulations"]) == 1 + 6


class Stop(Listener):
    """Asks to stop behind the second record."""

    records = 0

    def record(self, progress, share):
        self.records += 1

    def should_stop(self):
        return self.records >= 2


def test_a_sweep_without_a_finished_chunk_has_a_report(tmp_path):
    experiment = tiny_experiment("mal_random_noise", "exact", num_records=3, leader__num_updates=6)  # that of `swept`
    plan = make_plan([experiment], [parse_axis("alpha=0.2,0.8")], num_seeds=2)
    with pytest.raises(PreemptedError):
        run_plan(plan, tmp_path / "run", Stop())
    out = write_report([load(tmp_path / "run")], tmp_path / "out").parent
    page = page_in(out)
    assert "No run has finished yet." in page.words
    assert "formulations" not in page.tables
    assert (out / "figures" / "curves.svg").is_file()
    assert json.loads((out / "table.json").read_text())["rows"] == []
    shutil.rmtree(tmp_path / "run" / NOISE / "checkpoints")
    assert "No record is on disk yet." in page_in(write_report([load(tmp_path / "run")], out).parent).words


def test_a_run_compared_with_itself_differs_in_nothing(swept, tmp_path, capsys):
    out = tmp_path / "out"
    main(["report", str(swept), str(swept), "--compare", "--out", str(out)])
    data = json.loads((out / "table.json").read_text())
    assert len(data["differences"]) == 3
    for line in data["differences"]:
        assert line["pairs"] == 4
        assert line["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert line["probability"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert data["without_partner"] == []
    assert "compare: needs at least two directories" in refused(capsys, "report", str(swept), "--compare")


def test_a_value_counts_the_same_as_axis_and_as_option(swept, tmp_path):
    run = tmp_path / "option"
    shutil.copytree(swept / NOISE, run)
    config = json.loads((run / "config.json").read_text())
    config["experiment"]["game"]["alpha"] = 1
    (run / "config.json").write_text(json.dumps(config | {"axes": []}))
    shutil.rmtree(run / "chunks" / "00000000")
    (run / "chunks" / "00000004").rename(run / "chunks" / "00000000")
    for name in ("results.parquet", "metrics.parquet"):
        frame = pl.read_parquet(run / name)
        frame.filter((pl.col("alpha") - 1).abs() < 1e-6).write_parquet(run / name)
    write_report([load(swept), load(run)], tmp_path / "out", compare=True)
    (line,) = json.loads((tmp_path / "out" / "table.json").read_text())["differences"]
    assert (line["pairs"], line["difference"]["value"]) == (4, 0.0)
    assert line["baseline"].startswith("MAL + random noise, alpha 1")
    assert ALIKE in (tmp_path / "out" / "report.html").read_text()


def test_rows_without_a_partner_and_diverged_seeds_are_told(swept, tmp_path):
    run = tmp_path / "other"
    shutil.copytree(swept, run)
    shutil.rmtree(run / "mal-exact-simple_mdp_2")
    (run / "plan.json").unlink()
    path = run / NOISE / "results.parquet"
    results = pl.read_parquet(path)
    finite = [False, *([True] * 7)]
    results.with_columns(pl.Series("finite", finite), pl.col("exact_return") - 1.0).write_parquet(path)
    write_report([load(swept), load(run)], tmp_path / "out", compare=True)
    data = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [(line["pairs"], line["diverged"]) for line in data["differences"]] == [(3, 1), (4, 0)]
    assert [line["difference"]["value"] for line in data["differences"]] == pytest.approx([-1.0, -1.0], abs=1e-5)
    assert [line["probability"]["value"] for line in data["differences"]] == [0.0, 0.0]
    assert data["without_partner"] == ["MAL (swept)"]
    config = json.loads((run / NOISE / "config.json").read_text())
    (run / NOISE / "config.json").write_text(json.dumps(config | {"seed": 7}))
    runs = [load(swept), load(run)]
    with pytest.raises(InputError, match="compare: the directories must share a cell and point"):
        write_report(runs, tmp_path / "none", compare=True)
    assert not (tmp_path / "none").exists()


def test_bad_input_is_one_line_and_nothing_is_overwritten(swept, tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(swept, run)
    write_report([load(run)], out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (run / NOISE / "results.parquet").write_bytes(b"damaged")
    assert "results.parquet: cannot be read" in refused(capsys, "report", str(run), "--out", str(out))
    shutil.copy(swept / NOISE / "results.parquet", run / NOISE / "results.parquet")
    profiles = run / NOISE / "chunks" / "00000000" / "profiles.npz"
    profiles.write_bytes(profiles.read_bytes() + b"0")
    assert "profiles.npz has another checksum" in refused(capsys, "report", str(run), "--out", str(out))
    (run / "plan.json").write_text("{}")
    assert "is no plan of this program" in refused(capsys, "report", str(run), "--out", str(out))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_what_is_no_report_is_left_alone(swept, tmp_path, capsys):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("precious")
    said = refused(capsys, "report", str(swept), "--out", str(tmp_path / "theirs"))
    assert "out: must be a new or empty directory, or an earlier report" in said
    said = refused(capsys, "report", str(swept), "--out", str(tmp_path / "theirs" / "notes.txt"))
    assert "out: must be a directory" in said
    assert (tmp_path / "theirs" / "notes.txt").read_text() == "precious"
    assert "cannot be written" in refused(capsys, "report", str(swept), "--out", "/proc/sbmrl")
    assert "absent: must be the directory of a run" in refused(capsys, "report", str(tmp_path / "absent"))
    assert "directories: must be at least one" in refused(capsys, "report")
