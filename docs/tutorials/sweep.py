# %% [markdown]
# # A thousand seeds and a sweep
#
# With the exact [scheme](../glossary.md#scheme) a seed costs a few milliseconds, so there is no reason to stop at five. This page runs [MAL](../glossary.md#mal) and
# its repair by [random noise](../glossary.md#random-noise) with 1,000 seeds each, the repair at six values of its α, stops in the middle, goes on,
# and then reads what came out: **the share of fooled runs rises from none at α = 0.1 to 67 % at α = 0.9, and MAL
# itself is at 78 %**. It also shows what such numbers do not say.
#
# What *fooled* means, and how a model comes to hide the good part of its world, is in [Fooled by your own
# model](fooled.md).
#
# The page takes about a minute and a half on two cores. These are its sizes:

# %% tags=["parameters"]
num_seeds = 1000  # of each point
num_updates = 200  # gradient steps of the leader

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import sbmrl

sbmrl.prepare_devices()  # first of all: all cores, and a compilation cache

# %% [markdown]
# ## The plan
#
# A plan is experiments times a grid. An axis over a number, such as α, makes **points** of one compiled program; one
# over a word or a count, such as `loss` or `env`, makes **cells**, each compiled and kept in a directory of its own.
# MAL has no α, so it has one point.

# %%
settings = {
    "loss": "kl",
    "leader__initial": "random",
    "leader__num_updates": num_updates,
}
experiments = [
    sbmrl.preset("fast", name, "exact").replace(**settings)
    for name in ("mal", "mal_random_noise")
]
alphas = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
plan = sbmrl.make_plan(
    experiments, [sbmrl.Axis("alpha", alphas)], num_seeds=num_seeds
)
for cell in plan.cells:
    print(f"{cell.name}: {len(cell.points())} × {num_seeds} runs")

# %% [markdown]
# ## Run it, stop it, go on
#
# `run_plan` works through the plan in chunks of as many runs as fit the memory, and leaves each on disk. A `Listener`
# is told how it goes and may ask to stop. This one does when the first chunk is done, as a scheduler might:


# %%
class StopsEarly(sbmrl.Listener):
    """Asks to stop when a chunk is on disk."""

    def __init__(self):
        self.stop = False

    def chunk(self, num_done):
        self.stop = True

    def should_stop(self):
        return self.stop


out = Path(tempfile.mkdtemp()) / "alpha"  # or a directory of yours
try:
    sbmrl.run_plan(plan, out, StopsEarly())
except sbmrl.PreemptedError:
    print(f"stopped, with {len(sbmrl.load(out).results)} runs finished")

# %% [markdown]
# What is finished can be read at any time. The chunk that was under way is saved, too, behind its last record. The
# same plan with `resume=True` goes on there and comes to the same bits as if nothing had happened. So does a run that
# was killed, from its last checkpoint (`checkpoint_seconds`). Another plan in the same directory is refused.

# %%
sbmrl.run_plan(plan, out, resume=True)
run = sbmrl.load(out)
shown = ["formulation", "alpha", "seed", "exact_return", "regret", "fooled", "finite"]
print(f"{len(run.results)} runs finished")
print(run.results.select(shown).tail(3))

# %% [markdown]
# `results` is a polars frame with a row for each run, `curves` the learning curves; `load(out, frames="pandas")` gives
# pandas. `finite` says that nothing diverged; a run that did belongs into no mean, but must be counted. The column
# `alpha` of MAL holds the default, which MAL does not use.

# %%
results = run.results
print(f"diverged: {(~results['finite']).sum()} of {len(results)}")
results = results.filter("finite").sort("seed")

is_mal = pl.col("formulation") == "mal"
mal, noise = results.filter(is_mal), results.filter(~is_mal)
points = {  # α is stored as float32
    alpha: noise.filter((pl.col("alpha") - alpha).abs() < 1e-6) for alpha in alphas
}

# %% [markdown]
# ## Read the points
#
# - **Fooled**: a share, with the exact interval of Clopper and Pearson. It is never narrower than it claims, also
#   where none is fooled.
# - **Mean**: with a bootstrap interval. It is what you would get on average, and may be what no run gets.
# - **[IQM](../glossary.md#iqm)**, the interquartile mean: of the middle half of the runs. It is not moved by a few strange seeds, and it
#   does not see them: anything that happens to less than a quarter of the runs on one side is invisible to it.


# %%
def line(name, frame):
    """A line of the table."""
    returns = frame["exact_return"].to_numpy()
    share = sbmrl.fraction_interval(int(frame["fooled"].sum()), len(frame))
    mean = sbmrl.mean_interval(returns)
    middle = sbmrl.interquartile_mean_interval(returns)
    return (
        f"{name:8}{share:5.1%}  {mean:5.2f}  {middle:5.2f}  {np.median(returns):5.2f}"
    )


heads = ("fooled [95 %]", "mean return [95 %]", "IQM [95 %]")
print(f"{'':8}" + "".join(f"{head:22}" for head in heads) + "median")
for alpha, frame in points.items():
    print(line(f"α = {alpha}", frame))
print(line("MAL", mal))

# %% alt="left: the share of fooled runs rises with α towards MAL's; right: mean, IQM and median fall at different α"
shares = [
    sbmrl.fraction_interval(int(frame["fooled"].sum()), len(frame))
    for frame in points.values()
]
without = sbmrl.fraction_interval(int(mal["fooled"].sum()), len(mal))
returns = [frame["exact_return"].to_numpy() for frame in points.values()]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.axhspan(without.low, without.high, color="#d55e00", alpha=0.3, lw=0, label="MAL")
value, low, high = np.transpose(shares)
left.vlines(alphas, low, high, color="#0072b2", lw=2.5)
left.plot(alphas, value, "o-", color="#0072b2", lw=0.8, label="MAL + random noise")
left.set(
    title="share of fooled runs, 95 % intervals",
    xlabel="α, the weight of plain MAL",
    xlim=(0, 1),
    ylim=(-0.02, 1),
)
left.legend(frameon=False, loc="upper left")
middle = [sbmrl.interquartile_mean_interval(sample).value for sample in returns]
right.plot(alphas, np.mean(returns, axis=1), "ko-", ms=4, label="mean")
right.plot(alphas, middle, "ko--", ms=4, label="IQM")
right.plot(alphas, np.median(returns, axis=1), "ko:", ms=4, label="median")
right.set(
    title="the same returns, three summaries",
    xlabel="α, the weight of plain MAL",
    xlim=(0, 1),
    ylim=(0, 38),
)
right.legend(frameon=False)
plt.show()

# %% [markdown]
# Every run ends near one of two values, about 36 or below 5. The mean moves with the share of the fooled. The IQM says
# at α = 0.2 that all is well, where 14 % are fooled, and the median says so even at 0.3, where it is 44 %. Where runs
# fall into two heaps, quote the share, and look at the runs before you choose a number.
#
# ## Pair the seeds
#
# All points and cells of a seed share their random numbers; here seed 7 starts from the same model everywhere. So
# compare run by run. Below, the paired difference stands beside that of seeds in random order. P(improvement) is the
# chance that a run earns more with the repair, a tie counted half.

# %%
x = points[0.5]["exact_return"].to_numpy().astype(float)
y = mal["exact_return"].to_numpy().astype(float)
shuffled = np.random.default_rng(0).permutation(y)  # seeds with nothing in common
scale = float(mal["optimal_return"][0] - mal["uniform_return"][0])
for name, other in (("paired", y), ("not paired", shuffled)):
    # Differences up to the tolerance are rounding, and count as ties.
    more, better = sbmrl.paired_improvement(x - other, tolerance=1e-5 * scale)
    print(f"{name:10}: noise earns {more:.2f} more, P(improvement) {better:.2f}")

before, after = mal["fooled"].to_numpy(), points[0.5]["fooled"].to_numpy()
print(f"fooled by MAL only: {np.sum(before & ~after)} seeds")
print(f"fooled with noise only: {np.sum(~before & after)} seeds")

# %% [markdown]
# The mean difference is the same, about 7.7; paired, its interval is more than a third narrower. And pairs say what
# two shares cannot: the repair saved 219 seeds of those that MAL fools, and harmed not one.
#
# ## How many seeds
#
# The first seeds of one point, α = 0.5:

# %%
frame = points[0.5]
for count in (5, 16, 64, 256, len(frame)):
    first = frame.head(count)
    share = sbmrl.fraction_interval(int(first["fooled"].sum()), len(first))
    mean = sbmrl.mean_interval(first["exact_return"].to_numpy())
    print(f"{len(first):4} seeds: fooled {share:4.0%}, mean return {mean:5.2f}")

# %% [markdown]
# With five seeds the share lies somewhere between 28 and 99 %. To halve an interval takes four times the seeds.
#
# ## What not to conclude
#
# - **"At α = 0.1 it is never fooled."** None of 1,000 means: at most 0.4 %, with 95 % confidence.
# - **"α = 0.1 is best."** It was chosen after looking. Run the chosen value again with fresh seeds, `make_plan(…,
#   seed=1)`, and quote those numbers.
# - **"All seven intervals hold."** Each holds with 95 %. Of twenty such intervals one is expected to miss.
# - **"Random noise repairs MAL from α = 0.1 down."** In this world, with this loss, from random models. A thousand
#   seeds are a thousand starts in *one* world; they say nothing about another. To speak of worlds, draw worlds:
#   `random_4_2_0`, `random_4_2_1`, …, as an axis `sbmrl.Axis("env", (…))`. There random noise at α = 0.5 repairs with
#   excess losses (KL) and not with raw ones (Brier; [results](../results/losses.md)).
# - **"A narrow interval, so a true number."** Seeds remove the chance of the starts. They do not remove a follower
#   that plans badly, too few updates, or a mistake in the world. That is what the columns `follower_gap_true`,
#   `residual` and the certificate are for.
#
# ## The same from the command line
#
# ```sh
# sbmrl sweep mal mal_random_noise --preset fast --scheme exact --loss kl \
#     --leader.initial random --grid alpha=0.1,0.2,0.3,0.5,0.7,0.9 \
#     --num-seeds 1000 --out runs/alpha  # with --resume it goes on
# sbmrl report runs/alpha                # one page: table, paired differences, figures
# ```
#
# `sbmrl report` reads what `run_plan` has left, too. More: [sweeps](../how_to/sweeps.md), [how to read a
# report](../how_to/reports.md).
