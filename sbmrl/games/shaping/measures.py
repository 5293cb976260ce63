"""What is measured of reward shaping: exact returns of both, the agent's regret, what the designer could have had."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.formulation import Formulation, Role
from sbmrl.core.game import Measures, Metrics, Outcome, Payoff, Profile, Seat, Strategy, sample_row
from sbmrl.core.measures import ExactGame, exact_measures, verdict
from sbmrl.core.payoffs import exact_payoff
from sbmrl.games.shaping.closed_forms import agent_reward, best_return
from sbmrl.games.shaping.world import ShapingWorld

_ASCENT_STEPS = 100
_ASCENT_RATE = 0.3


def make_measures(
    world: ShapingWorld,
    formulation: Formulation,
    payoffs: Mapping[str, Payoff],
    seats: Mapping[Role, Seat],
    prior: Callable[[jax.Array], Strategy],
) -> Measures:
    """All of it. The agent's regret is against its best policy over T steps without an entropy bonus.

    The designer's optimum has no closed form. It is held against what exact gradient ascent finds from uniform shares
    and from where the run has ended, a lower bound; the baseline is its return without any penalty.
    """
    leader, follower = formulation.leader, formulation.follower
    wants = {leader: formulation.leader_wants, follower: formulation.follower_wants}
    seat, nothing = seats[leader], jnp.zeros(world.num_cells)

    def value(profile: Profile, role: Role) -> jax.Array:
        return exact_payoff(payoffs, wants[role], profile)

    def regret(profile: Profile) -> jax.Array:
        return best_return(world, agent_reward(world, profile[leader])) - value(profile, follower)

    def more(evaluated: Profile) -> Metrics:
        told = {"target_return": payoffs["target"].exact(evaluated), "penalties": jnp.sum(evaluated[leader])}
        return told | {"cost": payoffs["cost"].exact(evaluated)}

    def at_the_end(evaluated: Profile, metrics: Metrics, outcome: Outcome) -> Metrics:
        def payoff(outputs: jax.Array) -> jax.Array:
            return value(outcome(seat.table(outputs)), leader)

        ended = jnp.log(jnp.maximum(seat.rows(evaluated[leader]), 1e-6))
        found = _ascend(payoff, jnp.stack([jnp.zeros_like(ended), ended]))
        unshaped = value(outcome(nothing), leader)
        best = jnp.maximum(jnp.maximum(found, unshaped), metrics["exact_return"])
        return verdict(metrics["exact_return"], best, unshaped)

    exact = ExactGame(
        value,
        regret,
        played=dict.fromkeys((leader, follower), lambda strategy: strategy),
        prior=prior,
        heard=lambda key, strategy: strategy,
        optimum=lambda: (nothing, jnp.array(jnp.nan)),  # where the agent is judged; what is best, `at_the_end` says
        uniform=lambda: jnp.array(jnp.nan),
        sampled_returns=_sampler(world, formulation, seats[follower]),
        more=more,
    )
    return exact_measures(exact, formulation)._replace(verdict=at_the_end)


def _sampler(
    world: ShapingWorld, formulation: Formulation, agent: Seat
) -> Callable[[jax.Array, Profile, int], jax.Array]:
    """(key, evaluated, N) -> `[N]`: the designer's returns in N episodes of the agent."""
    leader, follower = formulation.leader, formulation.follower

    def returns(key: jax.Array, evaluated: Profile, num_episodes: int) -> jax.Array:
        def step(carry, key: jax.Array):
            state, alive, total = carry
            key_action, key_step = jax.random.split(key)
            action = sample_row(key_action, evaluated[follower][agent.observed(state)])
            state, earned, ended, _ = agent.step(key_step, state, action)
            paid = sum((weight * earned[name] for name, weight in formulation.leader_wants.items()), jnp.zeros(()))
            return (state, alive & ~ended, total + jnp.where(alive, paid, 0.0)), None

        def episode(key: jax.Array) -> jax.Array:
            key_reset, key_steps = jax.random.split(key)
            start = (agent.reset(key_reset, evaluated[leader], ()), jnp.array(True), jnp.zeros(()))
            return jax.lax.scan(step, start, jax.random.split(key_steps, world.horizon))[0][2]

        return jax.vmap(episode)(jax.random.split(key, num_episodes))

    return returns


def _ascend(value: Callable[[jax.Array], jax.Array], starts: jax.Array) -> jax.Array:
    """`[]`: the largest value met by Adam from any of `starts` `[N, ...]`."""
    optimizer = optax.adam(_ASCENT_RATE)

    def step(carry, _):
        at, state, best = carry
        now, slope = jax.value_and_grad(value)(at)
        updates, state = optimizer.update(-slope, state, at)
        return (optax.apply_updates(at, updates), state, jnp.maximum(best, now)), None

    def ascend(start: jax.Array) -> jax.Array:
        carry = (start, optimizer.init(start), jnp.asarray(-jnp.inf, start.dtype))
        return jax.lax.scan(step, carry, length=_ASCENT_STEPS)[0][2]

    return jnp.max(jax.vmap(ascend)(starts))
