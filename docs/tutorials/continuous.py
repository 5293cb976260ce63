# %% [markdown]
# # Continuous worlds
#
# States and actions that are numbers, first where all can be computed, then where it has to be learned:
#
# - A cart that is pushed is *linear-quadratic*. There a model can be right about all of its policy's data and keep a policy that costs
#   six times the optimum. MAL ends [fooled](../glossary.md#fooled) in all of 64 seeds, PAL in none, and noise on the actions repairs MAL.
# - Pendulum is simulated. [Practical](../glossary.md#practical-game) PAL with an ensemble of networks swings it up in all of 4 seeds after 2,200 real steps, 1,000 of
#   them random.
#
# [PAL and MAL](../idea.md) are the two orders of play: in PAL the policy leads and the model answers, in MAL the other way round.

# %% tags=["parameters"]
num_seeds = 64
num_updates = 1000
num_pendulum_seeds = 4
num_iterations = 6
num_policy_steps = 10
num_imagined_episodes = 100

# %%
import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import sbmrl
from sbmrl.display.statistics import fraction_interval
from sbmrl.games.linear_quadratic.catalogue import make_world
from sbmrl.games.linear_quadratic.closed_forms import (
    best_response,
    cost,
    occupancy,
    self_confirming_model,
    squared_error,
)

pl.Config(
    tbl_hide_column_data_types=True,
    tbl_hide_dataframe_shape=True,
    tbl_rows=-1,
    tbl_cols=-1,
    float_precision=3,
)
sbmrl.prepare_devices()

# %% [markdown]
# ## A cart that is pushed
#
# The state x is a position and a speed, the control u a force. The next state is A x + B u and a little noise, and every step costs
# xᵀQx + uᵀRu, discounted by 0.99. The best policy is linear, u = −K x, and its *gain* K comes from an equation that is solved in
# microseconds (Riccati's):

# %%
world = make_world("lqr_double_integrator")
optimum = best_response(world, world.truth)
print(
    f"[A B] =\n{world.truth}\noptimal gain {optimum.gain}, cost {cost(world, world.truth, optimum.gain):.2f}"
)

# %% [markdown]
# A model is another [A B]. Its best response is the optimal gain in it. Its loss is the mean squared error of its predictions on the
# data of a policy, the noise of the world aside. All of these are plain functions of arrays with derivatives.
#
# ## A fooled gain
#
# Take a policy that pushes only a tenth as hard as it should. Is there a model in which it is optimal, and which its own data do not
# contradict? For nearly every gain there is exactly one, in closed form:

# %%
gain = 0.1 * optimum.gain
model = self_confirming_model(world, gain)
print(
    f"[A B] of the model =\n{model}\nits optimal gain {best_response(world, model).gain}, ours {gain}"
)

# %% [markdown]
# This model believes that pushing is nearly useless: by its last column a force of 1 changes the speed by 0.00006 a step, where it
# really is 0.1, and the position by 0.0013. So pushing weakly is the best that can be done in it. How wrong the model is depends on where one looks:

# %%
measured = {
    "cost of the weak policy in the world": cost(world, world.truth, gain),
    "cost of the weak policy in the model": cost(world, model, gain),
    "loss of the model on the policy's data": squared_error(
        world, model, occupancy(world, gain, 0.0)
    ),
    "the same, with noise of variance 1 on its actions": squared_error(
        world, model, occupancy(world, gain, 1.0)
    ),
}
print("\n".join(f"{name:52s}{float(value):8.4f}" for name, value in measured.items()))

# %% [markdown]
# In the model and in the world the policy costs the same, 78.2, where 12.3 is possible. On the policy's own data the model is right up
# to rounding. That policy always pushes by −K x, so its data never tell what another force would do. With noise on the actions the same
# model has a loss.
#
# This is no accident of one gain: almost every gain with a finite cost is an equilibrium of MAL
# ([theorem](../theory.md#linear-quadratic-worlds)). We scale the optimal gain by a factor, and draw what the policy costs and
# what the loss of its model is.

# %%
factors = jnp.linspace(0.05, 1.0, 39)


@jax.jit
@jax.vmap
def along(factor):
    gain = factor * optimum.gain
    model = self_confirming_model(world, gain)
    losses = [
        squared_error(world, model, occupancy(world, gain, noise))
        for noise in (0.0, 0.01, 0.1, 1.0)
    ]
    return cost(world, world.truth, gain), jnp.stack(losses)


costs, losses = along(factors)

# %% alt="Left: cost of the policy against its strength, falling to the optimum at 1. Right: the model's loss, 0 without action noise, and larger with more noise."
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained")
left.semilogy(factors, costs, color="#222222")
left.axhline(
    cost(world, world.truth, optimum.gain),
    color="#222222",
    linestyle=":",
    label="optimum",
)
left.set(
    xlabel="strength of the policy, in parts of the optimal gain",
    ylabel="cost in the world (and in the model)",
)
left.set_yticks([12, 20, 50, 100, 200], ["12", "20", "50", "100", "200"])
left.minorticks_off()
left.legend()
for column, (noise, colour) in enumerate(
    zip((0, 0.01, 0.1, 1), ("#222222", "#56b4e9", "#0072b2", "#d55e00"), strict=True)
):
    right.plot(
        factors, losses[:, column], label=f"noise of variance {noise:g}", color=colour
    )
right.set(
    xlabel="strength of the policy", ylabel="loss of the model in which it is optimal"
)
_ = right.legend()

# %% [markdown]
# The black line on the right is 0 everywhere: without noise on the actions nothing tells any of these models from the truth. With noise
# the loss is 0 at strength 1 alone, where the model is the truth.
#
# ## PAL, MAL and two repairs
#
# Now both sides learn. Leaders follow the exact derivative through their follower's exact answer for 1,000 steps. A model starts with an
# actuator (its B) that is too weak by a factor between 0.03 and 0.6, a policy with a gain that is.


# %%
def run(formulation, **settings):
    experiment = sbmrl.preset(formulation=formulation, env="lqr_double_integrator")
    experiment = experiment.replace(leader__num_updates=num_updates, **settings)
    metrics = sbmrl.make_train_seeds(experiment, num_seeds)().final.metrics
    fooled = fraction_interval(int(metrics["fooled"].sum()), num_seeds)
    return {
        "fooled": fooled.value,
        "low": fooled.low,
        "high": fooled.high,
        "median cost": float(-np.median(metrics["exact_return"])),
        "own loss": f"{abs(np.median(metrics['fit'])):.0e}",
        "wide loss": f"{abs(np.median(metrics['random_fit'])):.0e}",
    }


rows = {
    "PAL": run("pal"),
    "MAL": run("mal"),
    "MAL, noise on the actions": run("mal", action_noise=1.0),
    "MAL + data of random policies": run("mal_random_noise"),
}
print(pl.DataFrame([{"formulation": name} | row for name, row in rows.items()]))

# %% [markdown]
# *Fooled* means a cost of more than 5 % above the optimum; `low` and `high` are the ends of the 95 % interval; losses are medians. *Wide*
# data are those of random policies.
#
# - **PAL is fooled in 0 of 64 seeds, MAL in 64**, at a median cost of 17.0. Its median loss on its policy's data is 4 · 10⁻¹², and on wide
#   data 3 · 10⁻³: the models are wrong where their policies do not go.
# - **Both repairs fool none.** They make wide data count, the first by noise, the second by other policies.
#
# What this does *not* say is how bad MAL is as such. Which of its infinitely many equilibria it reaches is a matter of where it starts and
# of [how it steps](../results/linear_quadratic.md#step-size-decides).
#
# ## Pendulum: where nothing is in closed form
#
# A pendulum hangs from a motor that is too weak to lift it, so it has to be swung up. Seen are cos θ, sin θ and the speed; the action is a
# torque; an episode has 200 steps. Dynamic programming on a fine grid earns −142 on the starts that we use, uniform torques −1,224.
#
# Practical PAL repeats: fit an ensemble of networks to all data so far; improve the policy in it by natural policy gradient, 10
# steps; play two real episodes. Five episodes of random torques come first. A real step is what costs, so returns are drawn against real
# steps. Everything is one program for all seeds:

# %%
experiment = sbmrl.preset(formulation="pal", env="gymnax:Pendulum-v1")
leader = dataclasses.replace(
    experiment.leader,
    num_environments=num_imagined_episodes,
    num_repeats=num_policy_steps,
)
imagined_steps = (
    num_iterations * num_policy_steps * num_imagined_episodes * leader.num_steps
)
experiment = experiment.replace(
    num_records=num_iterations,
    leader=dataclasses.replace(leader, total_steps=imagined_steps),
)
result = sbmrl.make_train_seeds(experiment, num_pendulum_seeds)()
play = result.curves["play"]
print(
    pl.DataFrame(
        {
            "real steps": np.asarray(play["real_steps"][0], int),
            "return": np.asarray(play["exact_return"].mean(0)),
            "worst seed": np.asarray(play["exact_return"].min(0)),
            "in the model": np.asarray(play["model_return"].mean(0)),
            "loss on new data": np.asarray(-play["fit"].mean(0)),
            "loss on random data": np.asarray(-play["random_fit"].mean(0)),
        }
    )
)

# %% alt="Return of each seed against real steps: about −600 after 1,400, close to the best from 2,200 on."
figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for seed in range(num_pendulum_seeds):
    axes.plot(
        play["real_steps"][seed],
        play["exact_return"][seed],
        "o-",
        color="#0072b2",
        alpha=0.6,
        label=None if seed else "in the world",
    )
    axes.plot(
        play["real_steps"][seed],
        play["model_return"][seed],
        ":",
        color="#d55e00",
        label=None if seed else "in its model",
    )
axes.axhline(
    -142.1, color="#222222", linestyle="--", label="dynamic programming on a grid"
)
axes.set(xlabel="real steps", ylabel="return")
_ = axes.legend(loc="lower right")

# %% [markdown]
# - **After 2,200 real steps all four seeds have learned it**: −161 in the mean, −173 in the worst. From 2,600 on it is −154. At 1,400 steps
#   it was −657.
# - **What the model promises is what the world pays.** From 2,200 on the two returns differ by at most 4 in the mean.
# - **The model is more wrong where its policy does not go**: the loss on random data is several times that on new ones. But both are
#   small, in units of what varies, so nobody is fooled.
#
# Why is Pendulum so kind where the cart was not? The practical game is another one: a model is fitted to *all* data so far, and the first
# of them are wide. MAL on the cart was judged by the data of its present policy alone. How much each of these matters was measured
# ([results](../results/pendulum.md)). Four seeds show how such a run looks, not how often one fails.
#
# ## Where to go on
#
# - All linear-quadratic worlds, and one of your own: [how to](../how_to/linear_quadratic.md), [results](../results/linear_quadratic.md).
# - Simulated worlds, their models and presets: [how to](../how_to/simulated_worlds.md); Pendulum with 64 seeds and all variants:
#   [results](../results/pendulum.md).
