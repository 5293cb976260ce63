# %% [markdown]
# # Fooled by your own model
#
# A model can be right about all the data that it ever sees, and the policy that plans in it can still miss the best of
# the world. On this page you train such models: 4 of 5 are fooled. You see how their loss says nothing about it, watch
# one of them hide the good part of the world, and repair them in two ways.
#
# In **[MAL](../glossary.md#mal)** (the model leads) a model and a policy play a [game](../idea.md). The model commits first: it chooses its
# predictions, and pays for wrong ones where the policy then goes. The policy follows: it plans in the model, as well
# as one can.
#
# The page takes about a minute on two cores. These are its sizes:

# %% tags=["parameters"]
num_seeds = 256  # independent runs of each kind
num_updates = 200  # gradient steps of the leader

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import sbmrl

sbmrl.prepare_devices()  # first of all: all cores, and a compilation cache

# %% [markdown]
# ## The world
#
# `simple_mdp_2` has three states. An episode starts in s1 and takes at most 50 steps; s2 ends it. Circles are states,
# squares are actions. An arrow carries its probability and, in brackets, the reward. The best action of each state is
# bold.

# %% alt="the world as a graph: from s1, a1 leads to s0 in half of the cases; a1 in s0 stays there and pays 0.75 a step"
world = sbmrl.make_world("simple_mdp_2")
best = sbmrl.finite_horizon_optimum(world)
sbmrl.draw_mdps({"the world": world}, {"the world": best.policy})

# %% [markdown]
# To be rich, take a1 in s1 until it leads to s0, and then a1 for ever: it pays 0.75 a step. The other way is to leave:
# a0 in s1 pays 1 with probability 0.8, and that is the end. Both returns are exact, by dynamic programming:

# %%
leave = best.policy.at[1].set(jax.nn.one_hot(0, 2))  # the best, but a0 in s1
print(f"the best policy: {best.value:.2f}")
print(f"leave at once:   {sbmrl.finite_horizon_return(world, leave):.2f}")

# %% [markdown]
# ## Train
#
# An experiment is put together from parts. Here the [formulation](../glossary.md#formulation) is `mal`. The [scheme](../glossary.md#scheme) is `exact`: the follower's answer
# is computed by backward induction in the model, so no failure can be blamed on a poor planner. The leader follows its
# gradient, also through this answer; for that to exist, the follower is soft while it trains (a softmax with a
# temperature of 0.1), and is judged by its best actions. The loss is [KL](../glossary.md#kl), 0 for a model that is right. Each seed starts
# from another random model.

# %%
settings = {
    "loss": "kl",
    "leader__initial": "random",
    "leader__num_updates": num_updates,
    "num_records": 20,
}
mal = sbmrl.preset("fast", "mal", "exact").replace(**settings)
train = sbmrl.make_train_seeds(mal, num_seeds)  # all seeds as one compiled program
result = train()

final = result.final.metrics  # name -> [num_seeds] numbers
returns, fooled = np.asarray(final["exact_return"]), np.asarray(final["fooled"])
values, counts = np.unique(returns.round(2), return_counts=True)
for value, count in zip(values, counts, strict=True):
    print(f"{count:3} of {num_seeds} seeds end with a return of {value:.2f}")

# %% [markdown]
# A run is **[fooled](../glossary.md#fooled)** if its policy misses more than 5 % of what there is to gain over acting
# at random. A share gets an exact interval ([Clopper–Pearson](../glossary.md#clopperpearson)), a mean a bootstrap interval, both of 95 %:

# %%
share = sbmrl.fraction_interval(int(fooled.sum()), num_seeds)
mean = sbmrl.mean_interval(returns)
print(f"fooled:      {share:.0%}")
print(f"mean return: {mean:.2f}, the best is {best.value:.2f}")

# %% [markdown]
# About 79 % are fooled. The mean of about 9 is the return of no run: a third of the seeds leave at once (0.99), nearly
# half go to s0 but do not stay there (2.58), and a fifth find the best policy. Look at how runs are distributed before
# you quote a mean.
#
# ## The loss does not tell
#
# Each line is a seed, 64 of them. On the left is what the leader minimises, on the right what its policy earns in the
# world.

# %% alt="left: all leaders' losses fall, fooled or not; right: returns stay near 1, 2.6 or 36 almost from the start"
curves = result.curves["play"]  # name -> [num_seeds, num_records]
updates = np.linspace(0, num_updates, mal.num_records + 1)[1:]
colours = {True: "#d55e00", False: "#0072b2"}

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for seed in range(min(num_seeds, 64)):
    style = {"color": colours[bool(fooled[seed])], "lw": 0.8, "alpha": 0.5}
    left.plot(updates, -curves["fit_kl"][seed], **style)  # a fit is minus a loss
    right.plot(updates, curves["exact_return"][seed], **style)
left.set(
    title="the leader's loss",
    xlabel="updates of the leader",
    ylabel="KL on its policy's data",
    yscale="log",
)
right.set(
    title="what the policy earns",
    xlabel="updates of the leader",
    ylabel="return in the world",
)
right.plot([], [], color=colours[True], label="fooled")
right.plot([], [], color=colours[False], label="not fooled")
right.legend(frameon=False, loc="center right")
plt.show()

# %% [markdown]
# The losses of fooled leaders fall like those of the others; the returns are decided in the first updates and then
# stay. At the end, on average:

# %%
loss = -np.asarray(final["fit_kl"])
promised = np.asarray(final["model_return"])
for name, chosen in (("fooled", fooled), ("not fooled", ~fooled)):
    told, real = np.mean(promised[chosen]), np.mean(returns[chosen])
    print(
        f"{name:10}: loss {np.mean(loss[chosen]):.4f}, "
        f"return in the model {told:.2f}, in the world {real:.2f}"
    )

# %% [markdown]
# A fooled model keeps its promise: its policy earns in the world what the model says. The others get a little more
# than they were promised. From where a fooled leader stands, nothing is wrong.
#
# ## Watch it hide s0
#
# We train one of the seeds that leave at once again, and stop to look at its model. `make_program` gives the pieces
# that a whole run is made of: `init`, the records of a stage (here 10 updates each) and `finish`, which evaluates a
# state.

# %% alt="the world and three models of a seed: in s1, a0 becomes right, a1 leads to s2 more and more, not to s0"
program = sbmrl.make_program(mal)
(stage,) = program.stages
record, finish = jax.jit(stage.record), jax.jit(program.finish)

key = jax.random.fold_in(jax.random.key(0), 10)  # seed 10, as make_train_seeds counts
state = program.init(key, {})
shots = {"the model at the start": finish(key, {}, state)}
for number in range(stage.num_records):
    state, _ = record(key, {}, state, number)
    if number in (0, stage.num_records - 1):
        shots[f"after {updates[number]:.0f} updates"] = finish(key, {}, state)

mdps, policies = {"the world": world}, {"the world": best.policy}
for title, shot in shots.items():
    mdps[title] = sbmrl.imagined(world, shot.profile["model"])
    policies[title] = shot.profile["policy"]
sbmrl.draw_mdps(mdps, policies)

# %%
for title, shot in shots.items():
    opinion, loss = shot.profile["model"][1, 1, 0], -shot.metrics["fit_kl"]
    print(
        f"{title:22}: a1 in s1 leads to s0 with {opinion:.2f}; "
        f"loss {loss:.4f}, return {shot.metrics['exact_return']:.2f}"
    )

# %% [markdown]
# Look at s1. At the start the model says that a1 leads to s0 with 0.45. That is nearly right, and its policy goes
# there. But the model is wrong about what happens on this way, and its leader pays for that. Ten updates later it says
# 0.15, the policy leaves at once, and the loss is much smaller. At the end it says 0.04. What a0 does, which is all
# that the policy now sees, has become right: 0.20 and 0.80.
#
# A leader can be rid of a loss in two ways: learn what happens there, or say that nothing good comes of going there,
# so that the follower stays away. This one took the second. Both end with a loss near 0, so no loss will bring it
# back.
#
# Is that one strange seed? With a learning rate of 0 the same seeds stay at their first models. The learning rate is
# *[traced](../glossary.md#traced)*, an argument of the compiled program, so nothing is compiled again:

# %%
before = train({"leader.learning_rate": 0.0}).final.profile["model"]
after = result.final.profile["model"]
ways = {"a1 in s1 leads to s0": (1, 1, 0), "a1 in s0 stays in s0": (0, 1, 0)}
for value in np.unique(returns.round(2)):
    chosen = returns.round(2) == value
    for name, (s, a, following) in ways.items():
        first = before[chosen, s, a, following].mean()
        last = after[chosen, s, a, following].mean()
        print(f"return {value:5.2f}: {name}: first {first:.2f}, last {last:.2f}")

# %% [markdown]
# These are means over the seeds that end with a return; the world says 0.50 and 1.00. Seeds that leave at once come to
# hide the way into s0. Those that end at 2.58 learn this way, and come to hide that s0 is a place to stay. Those that
# find the best policy had a better opinion of s0 from the start.
#
# ## Repair it
#
# Two repairs change what the leader wants. α says how much of plain MAL is kept; α = 1 is MAL.
#
# - **[Agent reward](../glossary.md#agent-reward)**: the leader is also paid what its policy earns in the world, with a weight of 1 − α.
#   A return is a sum over T = 50 steps, a loss the mean of a step.
# - **[Random noise](../glossary.md#random-noise)**: the model must also fit the data of random policies, with a weight of 1 − α.

# %%
metrics = {"MAL": final}
for name in ("mal_agent_reward", "mal_random_noise"):
    repaired = sbmrl.preset("fast", name, "exact").replace(**settings)
    train = sbmrl.make_train_seeds(repaired, num_seeds)
    for alpha in (0.5, 0.1):
        metrics[f"{name}, α = {alpha}"] = train({"alpha": alpha}).final.metrics

shares = {
    name: sbmrl.fraction_interval(int(own["fooled"].sum()), num_seeds)
    for name, own in metrics.items()
}
for name, own in metrics.items():
    mean = sbmrl.mean_interval(np.asarray(own["exact_return"]))
    print(f"{name:25}: fooled {shares[name]:4.0%}, mean return {mean:.2f}")

# %% alt="share of fooled runs with its interval: MAL 79 %, both repairs less at alpha 0.5 and nearly 0 at alpha 0.1"
figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
for place, share in enumerate(shares.values()):
    axes.hlines(place, share.low, share.high, color="#0072b2", lw=3)
    axes.plot(share.value, place, "o", color="#0072b2")
axes.set(xlabel="share of fooled runs, with its 95 % interval", xlim=(-0.02, 1))
axes.set_yticks(range(len(shares)), list(shares))
axes.invert_yaxis()
axes.grid(axis="x", color="#dddddd")
plt.show()

# %% [markdown]
# Both repairs work, and both need enough weight. At α = 0.5 agent reward leaves about 14 % fooled and random noise
# more than half; at α = 0.1 they leave 1 of 256 and none. None of 256 is not "never": the interval goes up to 1 %.
#
# ## What follows, and what does not
#
# - A leader that is judged where its own policy goes can choose where it is judged. Its loss cannot warn you, and
#   neither can a comparison of the return in the model with the return in the world. Here the exact optimum warns us;
#   a real world has none.
# - The repairs differ in what they ask for: agent reward needs real returns of the policy, random noise data from
#   policies that are not the agent's.
# - These shares belong to this world, this loss and these starts. From nearly uniform models and with the Brier loss
#   no seed of MAL is fooled with the same scheme; from uniform models with KL all are. How it is in 1,000 random
#   worlds, with four losses and several schemes, is among the [results](../results/index.md), with the reason why
#   random noise needs another weight for another loss.
# - α deserves more than two values: [a sweep over α](sweep.md).
#
# To go on, change one thing: `leader__initial="truth"`, `loss="brier"`, or another world, such as
# `env="counterexample_2"`. With a world of your own: [your own MDP in ten minutes](own_mdp.md).
