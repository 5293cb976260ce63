"""The formulation table: one row a point of a cell, of whatever kind of game."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sbmrl.core import registry
from sbmrl.core.displays import GameDisplay
from sbmrl.core.experiment import compose
from sbmrl.core.parts import GameKind
from sbmrl.display.frames import at_point
from sbmrl.display.statistics import fraction_interval, interquartile_mean, mean_interval
from sbmrl.display.tables import bounds_of, markdown_table, number, value, with_interval
from sbmrl.sweep.loaded_cell import LoadedCell

RESIDUAL_TOLERANCE = 0.01  # an inner solver further from its equation than this is said not to have converged

Row = dict[str, Any]


def cell_rows(cell: LoadedCell) -> list[Row]:
    """A row for each point of a cell that has finished runs; a point's seconds are its runs' share of the cell's."""
    results, seconds = cell.results(), sum(cell.seconds().values())
    kind, rows = compose(cell.experiment).kind, []
    for point in cell.plan.points():
        own = at_point(results, point)
        if len(own):
            rows.append(make_row(kind, own, seconds * len(own) / len(results), point, dict(cell.plan.static)))
    return rows


def make_row(
    kind: GameKind,
    results: pl.DataFrame,
    seconds: float,
    point: Mapping[str, float] | None = None,
    static: Mapping[str, Any] | None = None,
) -> Row:
    """The statistics of one point of a cell. Diverged seeds (`finite = false`) are counted, but in no other number."""
    finite = results.filter(pl.col("finite"))
    returns, count = finite["exact_return"].to_numpy(), len(finite)
    head = results.row(0, named=True)
    display, row = kind.display(), registry.formulation(head["formulation"])
    published = display.published(head)
    gaps = finite[_GAPS[_judged_at(head)]].fill_nan(None).drop_nulls()  # NaN where nobody knows the best response
    best_responding = int((gaps <= display.tolerance(head)).sum())
    told = ("formulation", "scheme", "learner", "env", *kind.columns(kind.options_of(row)()))
    found = {
        "kind": kind.name,
        **{name: head[name] for name in told},
        "static": dict(static or {}),
        "point": dict(point or {}),
        "num_seeds": len(results),
        "num_diverged": len(results) - count,
        "exact_return": bounds_of(mean_interval(returns)),
        "interquartile_mean": number(interquartile_mean(returns)),
        "sampled_return": bounds_of(mean_interval(finite["sampled_return"].to_numpy())),
        "optimal_return": number(head["optimal_return"]),
        "baseline_return": number(head["uniform_return"]),
        "fraction_fooled": bounds_of(fraction_interval(int(finite["fooled"].sum()), count)),
        "fraction_optimal": bounds_of(fraction_interval(int(finite["optimal"].sum()), count)),
        "fraction_follower_best_responds": bounds_of(fraction_interval(best_responding, len(gaps))),
        "num_unconverged": int((finite["residual"].fill_nan(0.0) > RESIDUAL_TOLERANCE).sum()),
        **display.measured(finite),
        "seconds": round(seconds, 1),
        "published": None if published is None else published._asdict(),
    }
    return found | {"title": title(found)}


# A follower that learns against one leader is judged at that leader, one that knows all at the right one.
_GAPS = {"last": "follower_gap", "right": "follower_gap_true"}
_LEADERS = {"last": "its last leader", "right": "the right leader"}


def _judged_at(row: Mapping[str, Any]) -> str:
    return registry.scheme(row["scheme"]).judged_at


def kind_of(row: Mapping[str, Any]) -> GameKind:
    """The kind of game of a row."""
    return registry.kind(row["kind"])


def by_kind(rows: Sequence[Row]) -> list[tuple[GameDisplay, list[Row]]]:
    """The rows of each kind of game, with what is shown of it, in the order of registration."""
    found = {kind.name: [row for row in rows if kind_of(row).name == kind.name] for kind in registry.kinds().values()}
    return [(registry.kinds()[name].display(), own) for name, own in found.items() if own]


PUBLISHED, IQM, SECONDS = "published", "IQM", "seconds"
TOLD_OF_SECONDS = "Seconds: the row's share of its cell's, compilation included."
_COLUMNS = (
    "formulation",
    PUBLISHED,
    "exact return [95 %]",
    IQM,
    "sampled [95 %]",
    "fooled [95 %]",
    "optimal",
    "follower best-responds",
    "seeds",
    SECONDS,
)


def columns(rows: Sequence[Row]) -> list[str]:
    """The heads of the table; published numbers have a column, under their source, where a row has some."""
    sources = {display.source for display, own in by_kind(rows) for row in own if row["published"]}
    heads = {PUBLISHED: " / ".join(sorted(sources))}
    return [heads.get(name, name) for name in _COLUMNS if name != PUBLISHED or sources]


def cells(row: Row, rows: Sequence[Row]) -> list[str]:
    """A row as the texts of the `columns` of all rows."""
    diverged = row["num_diverged"]
    texts = [
        row["title"],
        with_interval(row["exact_return"], "{:.2f}"),
        "–" if row["interquartile_mean"] is None else f"{row['interquartile_mean']:.2f}",
        with_interval(row["sampled_return"], "{:.2f}"),
        with_interval(row["fraction_fooled"], "{:.0%}"),
        value(row["fraction_optimal"], "{:.0%}"),
        value(row["fraction_follower_best_responds"], "{:.0%}"),
        f"{row['num_seeds']}" + (f" ({diverged} diverged, left out)" if diverged else ""),
        f"{row['seconds']:.0f}",
    ]
    if any(one["published"] for one in rows):
        published = row["published"]
        texts.insert(1, "–" if published is None else f"{published['value']:.2f} ± {published['spread']:.2f}")
    return texts


def title(row: Mapping[str, Any]) -> str:
    """The formulation's name in print, with what departs from the default."""
    axes = "".join(f", {name} {value}" for name, value in row["static"].items())
    axes += "".join(f", {name} {value:g}" for name, value in row["point"].items())
    departure = kind_of(row).display().departure(row)
    return registry.formulation(row["formulation"]).title + departure + axes


def published_by(rows: Sequence[Row]) -> list[str]:
    """What the published numbers of a table are, a sentence for each source."""
    return [display.source_note for display, own in by_kind(rows) if any(row["published"] for row in own)]


def lines_below(rows: Sequence[Row]) -> list[str]:
    """What each kind of game says of its rows below the table."""
    return [line for display, own in by_kind(rows) for line in display.lines(own)]


def caption(rows: Sequence[Row]) -> str:
    """What the reader needs to know to read the table."""

    def of_all(name: str) -> str:
        return ", ".join(dict.fromkeys(str(row[name]) for row in rows))

    def one(name: str) -> str:
        """The number that all rows share, or nothing."""
        numbers = dict.fromkeys(f"{row[name]:.2f}" for row in rows)
        return next(iter(numbers)) if len(numbers) == 1 else ""

    optimum, earned = one("optimal_return"), one("baseline_return")
    known = f"the optimum is {optimum}" if optimum else "optima differ from row to row"
    leader = " or ".join(dict.fromkeys(_LEADERS[_judged_at(row)] for row in rows))
    shown = by_kind(rows)
    told = "".join(display.told(own) for display, own in shown)
    returns = " or ".join(display.returns for display, _ in shown)
    baseline = " or ".join(dict.fromkeys(display.baseline for display, _ in shown))
    responds = "; ".join(display.responds.format(leader=leader) for display, _ in shown)
    return (
        f"World {of_all('env')}, {told}scheme {of_all('scheme')}, leader by {of_all('learner')}; "
        f"{known}. Exact return: {returns}. "
        f"Fooled: regret above 5 % of (optimal − baseline), the baseline{earned and f' of {earned}'} is {baseline}. "
        f"Follower best-responds: {responds}."
    )


def to_markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown, caption below."""
    parts = [markdown_table(columns(rows), [cells(row, rows) for row in rows]), f"{caption(rows)} {TOLD_OF_SECONDS}"]
    below = lines_below(rows)
    if below:
        parts += ["Medians over the seeds:", "\n".join(f"- {line}" for line in below)]
    return "\n\n".join(parts) + "\n"
