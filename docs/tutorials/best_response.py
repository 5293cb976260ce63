# %% [markdown]
# # Differentiate through a best response
#
# A [leader](../glossary.md#leader) that learns by gradient has to know how its [follower's](../glossary.md#follower) answer moves when it moves. There are three ways to that
# derivative, and on one small problem they agree:
#
# | way | scheme | what is differentiated | error on this page |
# |---|---|---|---|
# | unroll | `inner_outer` | K steps of a follower that learns | falls with K: 28 % after 10 steps, 6 · 10⁻⁷ after 100 |
# | implicit | `implicit` | the equation that the answer solves | rounding |
# | exact and soft | `exact` | backward induction over T steps | rounding, at a long horizon |
#
# Each is held against finite differences in double precision. At the end stands what no way can give: the derivative of a *best*
# action, and of a follower without a unique answer.
#
# The formula that all three compute: a leader with parameters x is paid f(x, y(x)), y the follower's answer, and
#
# ```text
# df/dx = ∂f/∂x + ∂f/∂y · dy/dx
# ```
#
# The last factor is what is hard.

# %% tags=["parameters"]
num_steps = (1, 10, 30, 60, 100, 200, 300)
num_plain_steps = (1, 10, 100, 300)
num_directions = 12

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax
import polars as pl

import sbmrl
from sbmrl.core.game import greedy
from sbmrl.core.payoffs import exact_payoff
from sbmrl.experiment.solver import make_solver
from sbmrl.games.tabular.catalogue import named_world
from sbmrl.games.tabular.closed_forms import discounted_return
from sbmrl.games.tabular.mdp import imagined
from sbmrl.learners.gradient import gradient
from sbmrl.schemes.inner_outer import InnerState, inner_outer

pl.Config(tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True, tbl_rows=-1)
DISCOUNT, TEMPERATURE = 0.9, 0.3

# %% [markdown]
# ## The problem
#
# `simple_mdp_2` with a discount of 0.9. The leader is a model: a table of logits `[4, 3]`, a row for each pair of a state in which
# somebody decides and an action. The follower is a policy that plans in that model, and is also paid for its entropy, at a
# temperature of 0.3. Without this bonus its answer would be a best action, which jumps and has no derivative. The leader wants what the
# policy earns in the *true* world (the formulation [`omd`](../results/optimal_model_design.md)). So all of its gradient goes through the
# answer: ∂f/∂x is 0.
#
# Everything is done in double precision, so that finite differences can be trusted. jax does this inside `jax.enable_x64`.

# %%
with jax.enable_x64(True):
    world = sbmrl.make_mdp(named_world("simple_mdp_2"), dtype=jnp.float64).replace(
        discount=DISCOUNT, horizon=300
    )
    logits = jax.random.normal(jax.random.key(0), (4, 3), jnp.float64)


def solver_of(scheme, **settings):
    experiment = sbmrl.preset("fast", "omd", scheme, "gradient").replace(**settings)
    return make_solver(
        experiment, world
    )  # the game, the scheme and the players, put together


def leader_payoff(solver, scheme, state):
    """(logits) -> `[]`: what the leader earns if the follower answers by `scheme`, which is in `state`."""
    game, table = (
        solver.game,
        solver.game.seats["model"].table,
    )  # from logits to transition probabilities

    def payoff(logits):
        given = {"model": table(logits)}
        profile = {**given, "policy": scheme.respond(state, given)}
        return exact_payoff(game.payoffs, solver.formulation.leader_wants, profile)

    return payoff


# %% [markdown]
# ## Implicit: the derivative of an equation
#
# The soft optimum is the fixed point of V(s) = τ log Σₐ exp(Q_V(s, a)/τ). It is found by Newton's method, and *no iteration is
# differentiated*: if V = T(V, x), then dV/dx = (I − ∂T/∂V)⁻¹ ∂T/∂x. This is the implicit function theorem. One linear solve, exact
# whatever the way to the solution.
#
# We hold it against central differences in random directions d: (f(x + hd) − f(x − hd)) / 2h, h = 10⁻⁵.


# %%
def against_differences(payoff, logits, step=1e-5):
    """The gradient, and the largest difference of its slopes from finite ones, in parts of the largest slope."""
    directions = jax.random.normal(
        jax.random.key(1), (num_directions, *logits.shape), logits.dtype
    )

    @jax.jit
    def slopes(logits):
        value, slope = jax.value_and_grad(payoff)(logits)
        both = jax.vmap(
            lambda d: (
                (payoff(logits + step * d) - payoff(logits - step * d)) / (2 * step)
            )
        )(directions)
        return value, slope, jnp.sum(directions * slope, axis=(1, 2)), both

    value, slope, exact, finite = slopes(logits)
    return (
        value,
        slope,
        float(jnp.max(jnp.abs(exact - finite)) / jnp.max(jnp.abs(exact))),
    )


with jax.enable_x64(True):
    implicit = solver_of(
        "implicit", follower__temperature=TEMPERATURE, follower__discount=DISCOUNT
    )
    payoff = leader_payoff(implicit, implicit.scheme, ())
    value, by_implicit, error = against_differences(payoff, logits)
    print(
        f"the leader earns {value:.6f}; its gradient, of norm {jnp.linalg.norm(by_implicit):.2f},"
    )
    print(f"differs from finite differences by {error:.1e}:\n{by_implicit.round(4)}")

# %% [markdown]
# They agree to nine digits, about as many as central differences can give at this h. The rows are the pairs (s0, a0), (s0, a1), (s1, a0)
# and (s1, a1); the columns are next states. The return moves most with what the model says of a1 in s0.
#
# ## Exact and soft: backward induction
#
# Over T steps the soft optimum needs no fixed point. It is T backups, and its derivative is theirs. The answer has a clock, one
# policy for each time left. The world discounts by 0.9 and is cut after 300 steps, so the two problems differ by about 0.9³⁰⁰ = 2 · 10⁻¹⁴.

# %%
with jax.enable_x64(True):
    exact = solver_of("exact", follower__temperature=TEMPERATURE)
    payoff = leader_payoff(exact, exact.scheme, jax.random.key(0))
    value, by_exact, error = against_differences(payoff, logits)
    apart = jnp.linalg.norm(by_exact - by_implicit) / jnp.linalg.norm(by_implicit)
    print(
        f"the leader earns {value:.6f}; from finite differences {error:.1e}, from the implicit gradient {apart:.1e}"
    )

# %% [markdown]
# ## Unrolled: K steps of a follower that learns
#
# The third way asks nothing of the problem but that the follower can climb. It starts from the uniform policy and makes K gradient
# steps on its payoff; the whole loop is a function of the leader and is differentiated.
#
# The scheme `inner_outer` is this loop. Its follower climbs a payoff of the game, and in this game none has an entropy bonus. So we hand
# its builder a payoff of our own, the discounted return plus the bonus. Its maximum is the soft optimum from above.


# %%
def soft_return(profile):
    """`[]`: what the follower wants, the discounted return in the model with τ times its entropy at each decision."""
    model, policy = imagined(world, profile["model"]), profile["policy"]
    deciding = ~jnp.array(world.terminal)
    bonus = jnp.where(deciding[:, None], -TEMPERATURE * jnp.log(policy), 0.0)
    return discounted_return(
        model.replace(reward=model.reward + bonus[..., None]), policy, DISCOUNT
    )


seat = implicit.game.seats["policy"]


def table(parameters):
    return seat.table(parameters["logits"])


def loop(num_inner_steps, unroll):
    """K steps of gradient ascent, of which the leader looks through the last `unroll`; it begins with the uniform policy."""
    uniform = {
        "logits": jnp.zeros((2, 2))
    }  # a row for each of the two states in which it decides
    follower = gradient(lambda key: uniform, table, soft_return, optax.sgd(1.0))
    return inner_outer(
        follower,
        table,
        lambda given: lambda policy: {**given, "policy": policy},
        num_inner_steps,
        unroll,
    )


def present(key):
    """What the follower meets in between: the leader as it is."""
    return {"model": implicit.game.seats["model"].table(logits)}


def apart(slope):
    return float(jnp.linalg.norm(slope - by_implicit) / jnp.linalg.norm(by_implicit))


with jax.enable_x64(True):
    start = loop(1, unroll=1).init(jax.random.key(0), present)
    lines = []
    for steps in num_steps:
        payoff = leader_payoff(implicit, loop(steps, unroll=steps), start)
        _, slope, error = against_differences(payoff, logits)
        lines.append(
            {"K": steps, "from implicit": apart(slope), "from differences": error}
        )
whole = pl.DataFrame(lines)
print(whole)

# %% [markdown]
# Two different questions have two different answers here:
#
# - *Is the derivative of the loop right?* Yes, for every K: it agrees with finite differences of the same loop (last column).
# - *Is it the derivative of the best response?* Only as K grows, because a loop that has not arrived answers something else.
#
# ## Truncated: look through the last steps only
#
# Unrolling keeps every step in memory. A follower that has arrived needs fewer: let it learn for 300 steps first, which nobody
# differentiates, and look through the next k (as `--num-inner-steps K --unroll k` does, with k < K). What it answers is then right
# already, and only the derivative is cut off.

# %%
with jax.enable_x64(True):
    adapted, _ = jax.jit(
        lambda state: loop(max(num_steps), unroll=0).adapt(
            jax.random.key(1), state, present
        )
    )(start)
    arrived = InnerState(
        now=adapted.now, before=adapted.now
    )  # as it is, and as it was k steps ago
    lines = []
    for steps in num_steps:
        slope = jax.jit(
            jax.grad(leader_payoff(implicit, loop(steps, unroll=steps), arrived))
        )(logits)
        lines.append({"k": steps, "from implicit": apart(slope)})
truncated = pl.DataFrame(lines)
print(truncated)

# %% alt="Relative error of the unrolled gradient against the number of steps, on a logarithmic axis: both curves are straight lines down to rounding, the truncated one a little lower."
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
axes.semilogy(
    whole["K"],
    whole["from implicit"],
    "o-",
    color="#0072b2",
    label="K steps from the uniform policy, all unrolled",
)
axes.semilogy(
    truncated["k"],
    truncated["from implicit"],
    "s--",
    color="#d55e00",
    label="the last k steps of a follower that has arrived",
)
axes.set(
    xlabel="steps that are differentiated",
    ylabel="distance to the implicit gradient, relative",
    ylim=(1e-16, 3),
)
_ = axes.legend(loc="upper right")

# %% [markdown]
# Both are straight lines on this axis, so they fall exponentially, until rounding stops them. Near the optimum a gradient step is a
# contraction: it multiplies every deviation by a factor below 1. So what happened k steps ago counts by that factor to the power k. How
# large the factor is depends on the follower, on its step size and on how sharp its optimum is. (Truncation: Shaban et al. 2019, arXiv
# 1810.10667.)
#
# ## What no way gives
#
# **A best action has no derivative.** The hard answer jumps where two actions tie and does not move between. Its gradient is 0, and that
# is the right derivative, and useless:

# %%
with jax.enable_x64(True):
    hard = leader_payoff(
        implicit,
        implicit.scheme._replace(
            respond=lambda state, given: greedy(implicit.scheme.respond((), given))
        ),
        (),
    )
    print("the leader of a greedy follower:", jnp.abs(jax.grad(hard)(logits)).max())

# %% [markdown]
# So sbmrl refuses an experiment whose leader could only move through such an answer (`omd --scheme exact --follower.backup hard`), with
# that reason.
#
# **Without an entropy bonus there is nothing to converge to.** The preset of `inner_outer` lets the follower climb its plain return. Its
# softmax goes on towards certainty for ever. The derivative of the loop is right, but small, and it fades as the steps go on:

# %%
with jax.enable_x64(True):
    lines = []
    for steps in num_plain_steps:
        plain = solver_of(
            "inner_outer",
            num_inner_steps=steps,
            unroll=steps,
            follower__initial="uniform",
        )
        start = plain.scheme.init(jax.random.key(0), present)
        _, slope, error = against_differences(
            leader_payoff(plain, plain.scheme, start), logits
        )
        lines.append(
            {
                "K": steps,
                "norm of the gradient": float(jnp.linalg.norm(slope)),
                "from differences": error,
            }
        )
print(pl.DataFrame(lines))

# %% [markdown]
# The gradient of the soft answer above has a norm of 0.67. Here it is largest at K = 10, and 0.0024 there. (At K = 1 there is next to
# nothing, because Adam's first step has the same size whatever the gradient.)
#
# ## Which one to take
#
# | if | then |
# |---|---|
# | the game knows the answer, and an episode is T steps | `exact`: one pass, no knob but τ |
# | the answer solves an equation | `implicit`: one linear solve, and the residual says whether the equation was solved |
# | the follower only learns | `inner_outer` with `unroll`, and look at how the answer and its gradient change with K |
# | memory is short, or the leader should not see the answer move | fewer `unroll`, down to 0: first-order, another game |
