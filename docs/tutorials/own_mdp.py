# %% [markdown]
# # Your own MDP in ten minutes
#
# Five entries make a world: transitions, rewards, start, end and horizon. On this page you write one down, draw it,
# solve it exactly and let two formulations learn in it. Where the policy leads ([PAL](../glossary.md#pal)), every run finds the best policy
# that it can; where the model leads ([MAL](../glossary.md#mal)), about 3 of 4 runs are [fooled](../glossary.md#fooled): they miss more than
# 5 % of what there is to gain. The [certificate](../glossary.md#certificate) of a run then tells what went wrong: the planning, the fit, or where
# the model was never asked.
#
# The page takes about half a minute on two cores. These are its sizes:

# %% tags=["parameters"]
num_seeds = 64  # independent runs of each formulation
num_updates = 200  # gradient steps of the leader

# %%
import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import sbmrl

sbmrl.prepare_devices()  # first of all: all cores, and a compilation cache

# %% [markdown]
# ## Write it down
#
# Ours is a machine. It is good (s0), worn (s1) or broken (s2), and each day we run it (a0) or service it (a1). To run
# it pays 1 a day. A good machine that runs is worn the next day with probability 0.3; a worn one that runs breaks for
# good with 0.4. Service costs 0.5 and makes a worn machine good with 0.9. We have 120 days.

# %%
machine = {
    "name": "machine",
    "transition": [  # [state, action, next state]
        [[0.7, 0.3, 0.0], [1.0, 0.0, 0.0]],  # good: run, service
        [[0.0, 0.6, 0.4], [0.9, 0.1, 0.0]],  # worn: run, service
        [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]],  # broken
    ],
    # [state, action], or [state, action, next state]
    "reward": [[1.0, -0.5], [1.0, -0.5], [0.0, 0.0]],
    "initial": 0,  # a state, or a distribution over states
    "terminal": [2],  # these states end the episode; may be empty
    "horizon": 120,  # decisions in an episode
}
world = sbmrl.make_world(machine)
print(f"{world.num_states} states, {world.num_actions} actions")

# %% [markdown]
# Lists or arrays, both will do. What is wrong is named with its place:

# %%
wrong = np.array(machine["transition"])
wrong[0, 0] = [0.7, 0.2, 0.0]
try:
    sbmrl.make_world(machine | {"transition": wrong})
except sbmrl.InputError as error:
    print(error)

# %% [markdown]
# The same keys make a file, JSON or numpy's `.npz`. The command line takes it wherever it takes a world: `sbmrl draw
# machine.json`, `sbmrl train mal --env machine.json`.

# %%
folder = Path(tempfile.mkdtemp())  # or wherever you keep such things
(folder / "machine.json").write_text(json.dumps(machine))
np.savez(folder / "machine.npz", **machine)
for file in ("machine.json", "machine.npz"):
    read = sbmrl.make_world(folder / file)
    same = np.array_equal(read.transition, world.transition)
    print(f"{file} holds the same world: {same}")

# %% [markdown]
# ## Draw it, solve it
#
# `finite_horizon_optimum` is dynamic programming: the best return over all policies, also those that look at the
# calendar, and what to do on the first day.

# %% alt="the machine as a graph; bold: run it while it is good, service it when it is worn"
best = sbmrl.finite_horizon_optimum(world)
sbmrl.draw_mdps({"the machine": world}, {"the machine": best.policy})

# %%
never = best.policy.at[1].set(best.policy[0])  # in s1 what is best in s0: run it
policies = {
    "run if good, service if worn": best.policy,
    "run it until it breaks": never,
}
print(f"the best policy, with a calendar: {best.value:.2f}")
for name, policy in policies.items():
    print(f"{name}: {sbmrl.finite_horizon_return(world, policy):.2f}")

# %% [markdown]
# The calendar is worth about 0.8: in the last days service no longer pays, and a policy `[S, A]` without a clock
# cannot know which day it is. The regret of a run is held against the best policy with a clock. With a short horizon
# this alone can be more than the 5 % at which a run counts as fooled, so look at these two numbers before you judge.
#
# ## Train
#
# In **PAL** the policy leads, and the model fits the data that the policy causes. In **MAL** the model leads, and the
# policy plans in it. With the scheme `exact` the follower's answer is computed, not learned. The loss is KL, 0 for a
# model that is right, and MAL starts from random models. The world is an argument of `make_train_seeds`; of a file it
# is enough to say `preset(…, env="machine.json")`.

# %%
settings = {"loss": "kl", "leader__num_updates": num_updates}
pal = sbmrl.preset("fast", "pal", "exact").replace(**settings)
mal = sbmrl.preset("fast", "mal", "exact").replace(
    **settings, leader__initial="random"
)
results = {
    "PAL": sbmrl.make_train_seeds(pal, num_seeds, world)(),
    "MAL": sbmrl.make_train_seeds(mal, num_seeds, world)(),
}
for name, result in results.items():
    found = result.final.metrics
    mean = sbmrl.mean_interval(np.asarray(found["exact_return"]))
    share = sbmrl.fraction_interval(int(found["fooled"].sum()), num_seeds)
    print(f"{name}: mean return {mean:.2f}, fooled {share:.0%}")

# %% alt="returns of all seeds: PAL's all near the best, MAL's in two heaps, the larger one at 5.8"
figure, axes = plt.subplots(figsize=(7, 2.2), layout="constrained")
jitter = np.random.default_rng(0).uniform(-0.25, 0.25, num_seeds)
for place, result in enumerate(results.values()):
    returns = result.final.metrics["exact_return"]
    axes.plot(returns, place + jitter, "o", ms=4, alpha=0.5, color="#0072b2")
axes.axvline(float(best.value), color="#222222", lw=1, ls="--")
axes.set(xlabel="return in the world, a point a seed; dashed: the best")
axes.set_ylim(1.5, -0.5)
axes.set_yticks(range(len(results)), list(results))
plt.show()

# %% [markdown]
# All seeds of PAL end at 75.31, the best without a clock. Of MAL, 46 run the machine until it breaks, after less than
# six days on average; 17 are at 76.06 or 76.09, as a planner has a clock. One is at −35: after 200 updates its model
# is still wrong about what its policy does.
#
# ## What a fooled model says
#
# The run at the median return, its model beside the world, and its policy in both:

# %% alt="in the model, service breaks a worn machine more often than it mends it; to run it is as in the world"
returns = np.asarray(results["MAL"].final.metrics["exact_return"])
profile = results["MAL"].final.profile
models = profile["model"]  # [num_seeds, S, A, S]
median = int(np.argsort(returns)[(num_seeds - 1) // 2])
policy = profile["policy"][median]  # [T, S, A]
title = f"the model of seed {median}"
sbmrl.draw_mdps(
    {"the machine": world, title: sbmrl.imagined(world, models[median])},
    {"the machine": policy, title: policy},
)

# %% [markdown]
# Service, it says, mostly breaks the machine. So it is never tried, and so nothing contradicts it. What it does is
# predicted as it is: 0.6 and 0.4. This is no accident of one seed. In all models that run the machine until it breaks,
# on average:

# %%
breaks = np.abs(returns - sbmrl.finite_horizon_return(world, never)) < 0.01
for name, chosen in (("run until it breaks", breaks), ("the others", ~breaks)):
    good, _, broken = models[chosen, 1, 1].mean(0)
    seeds = f"{name} ({chosen.sum()} seeds)"
    print(f"{seeds:30}: after service good with {good:.2f}, broken with {broken:.2f}")

# %% [markdown]
# ## Read the certificate
#
# [Theorem 1](../theory.md) bounds what a run misses, its regret, by three things: the policy does not plan well in its model (ε_π),
# the model is wrong where the policy goes (ε_M, in nats), or the best policy does something else in the model than in
# the world (a distance between 0 and 1). Theorem 2, meant for PAL, has no distance, but a loss that must also be small
# where the best policy without a clock goes. Every run carries both among its metrics. Medians; the last two columns
# are the bounds on the regret:

# %%
groups = {
    "PAL": (results["PAL"], np.full(num_seeds, True)),
    "MAL, until it breaks": (results["MAL"], breaks),
    "MAL, the others": (results["MAL"], ~breaks),
}
columns = {
    "regret": "regret",
    "ε_π": "epsilon_policy",
    "ε_M": "epsilon_model",
    "distance": "distance_model",
    "theorem 1": "theorem_1_model",
    "theorem 2": "theorem_2",
}
print(f"{'':20}" + "".join(f"{head:>11}" for head in columns))
for name, (result, chosen) in groups.items():
    metrics = result.final.metrics
    medians = [
        np.median(np.asarray(metrics[one])[chosen]) for one in columns.values()
    ]
    print(f"{name:20}" + "".join(f"{median:11.4f}" for median in medians))

# %% [markdown]
# - **PAL**: its model is right where its policy goes and where the best one goes. Both bounds say that at most 0.775
#   is missing, and so much is missing: the calendar (`stationary_gap`).
# - **MAL, until it breaks**: it plans perfectly (ε_π = 0) in a model that is right about all it sees (ε_M = 0.0001).
#   All that is wrong is in the distance, 0.97. That is what being fooled looks like.
# - **MAL, the others**: they miss nothing, and the bounds allow much. A bound is true and not tight. One above the 69
#   that are to be gained here over acting at random says nothing; which of its parts is large still does.
#
# The distance and theorem 2 need the true world. In a world that you know only from data there is ε_π and, from
# held-out data, ε_M; both are about 0 in the runs that are fooled. [Theory](../theory.md#certificates) has the
# statements, also those on the repairs.
#
# ## Go on
#
# - [Repair MAL](fooled.md) here, too: put `mal_agent_reward` or `mal_random_noise` for `mal`.
# - [Sweep](sweep.md): a plan takes worlds by name, so give it the file, `sbmrl.preset("fast", "mal", "exact",
#   env="machine.json")`.
# - Worlds of other kinds and all keys of a file: [worlds](../how_to/worlds.md).
