"""What is measured of model-based RL: exact values of a profile, sampled ones beside them, regrets, certificates."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.formulation import Formulation, Role
from sbmrl.core.game import Measures, Metrics, Outcome, Profile, Strategy, at_time, greedy
from sbmrl.core.measures import mean_regret, verdict
from sbmrl.core.payoffs import exact_payoff
from sbmrl.games.model_based.options import only_plans
from sbmrl.games.tabular.closed_forms import (
    expected_reward,
    finite_horizon_occupancy,
    finite_horizon_optimum,
    finite_horizon_return,
    safe_log,
    uniform_policy,
)
from sbmrl.games.tabular.mdp import TabularMDP, imagined, tabular_environment, with_transition
from sbmrl.games.tabular.payoffs import LOSSES, Measurement, expected_loss, payoffs
from sbmrl.games.tabular.theory.certificates import (
    UNBOUNDED,
    Certificate,
    certify,
    certify_data,
    certify_noise,
    certify_reward,
)

MEASURED_PAYOFFS = ("model_return", "real_return", "fit", "random_fit")

# role -> (strategy) -> what is evaluated: a policy's best actions, a model as it predicts
PLAYED: dict[Role, Callable[[Strategy], Strategy]] = {"policy": greedy, "model": lambda model: model}


def best_response_value(measurement: Measurement, formulation: Formulation, given: Profile) -> jax.Array:
    """`[]`: the largest payoff that a follower can have against what is given.

    A policy's that wants its return in the model, by backward induction there; a model's that only fits, by the rows
    that minimise every proper loss: the true ones, or those of the collected data. Who wants more has no closed form:
    from that plan or those rows it ascends its payoff, so its best value, and with it the regret, is a lower bound.
    """
    wants = formulation.follower_wants
    if formulation.follower == "policy":
        plan = finite_horizon_optimum(imagined(measurement.mdp, given["model"]))
        if only_plans(formulation):
            return wants["model_return"] * plan.value

        def earned(policy: jax.Array) -> jax.Array:
            return exact_payoff(payoffs(measurement), wants, {**given, "policy": policy})

        ascended = _ascend(lambda logits: earned(jax.nn.softmax(logits)), plan.policy)
        return jnp.maximum(ascended, earned(plan.policy))

    rows = measurement.mdp.transition
    if "data_fit" in wants:
        pairs = jnp.sum(given["data"], axis=-1, keepdims=True)
        rows = jnp.where(pairs > 0, given["data"] / jnp.where(pairs > 0, pairs, 1.0), rows)

    def value(rows: jax.Array) -> jax.Array:
        return exact_payoff(payoffs(measurement), wants, {**given, "model": rows})

    if len(wants) == 1:
        return value(rows)
    return _ascend(lambda logits: value(with_transition(measurement.mdp, jax.nn.softmax(logits)).transition), rows)


_ASCENT_STEPS = 60
_ASCENT_RATE = 0.3


def _ascend(value: Callable[[jax.Array], jax.Array], rows: jax.Array) -> jax.Array:
    """`[]`: the largest value met by Adam from the logits of `rows` and from uniform ones."""
    optimizer = optax.adam(_ASCENT_RATE)

    def step(carry, _):
        logits, state, best = carry
        now, slope = jax.value_and_grad(value)(logits)
        updates, state = optimizer.update(-slope, state, logits)
        return (optax.apply_updates(logits, updates), state, jnp.maximum(best, now)), None

    def ascend(logits: jax.Array) -> jax.Array:
        start = (logits, optimizer.init(logits), value(logits))
        return jax.lax.scan(step, start, length=_ASCENT_STEPS)[0][2]

    return jnp.max(jax.vmap(ascend)(jnp.stack([safe_log(jnp.maximum(rows, 1e-4)), jnp.zeros_like(rows)])))


def follower_regret(measurement: Measurement, formulation: Formulation, profile: Profile) -> jax.Array:
    """`[]` ≥ 0: payoff of the exact best response to the leader minus that of the follower (greedy where a policy)."""
    role = formulation.follower
    value = exact_payoff(
        payoffs(measurement), formulation.follower_wants, {**profile, role: PLAYED[role](profile[role])}
    )
    return best_response_value(measurement, formulation, profile) - value


def regret_at_truth(measurement: Measurement, formulation: Formulation, outcome: Outcome) -> jax.Array:
    """`[]`: the follower's regret at the leader it should meet: the true model, or the optimal policy."""
    return follower_regret(measurement, formulation, outcome(leader_at_truth(measurement, formulation)))


def leader_at_truth(measurement: Measurement, formulation: Formulation) -> Strategy:
    """The leader that there should be: the true model, or the policy that is optimal at the first decision."""
    mdp = measurement.mdp
    if formulation.leader == "policy":
        return finite_horizon_optimum(mdp).policy
    if measurement.learned_rewards:
        return jnp.concatenate([mdp.transition, expected_reward(mdp)[..., None]], axis=-1)
    return mdp.transition


def certified(measurement: Measurement) -> bool:
    """Whether the theorems speak of such a game: returns without a discount, in models with the true rewards."""
    return measurement.mdp.discount == 1.0 and not measurement.learned_rewards


def certificate(measurement: Measurement, formulation: Formulation, outcome: Outcome, evaluated: Profile) -> Metrics:
    """The exact certificate of an evaluated profile (`sbmrl.games.tabular.theory.certificates`).

    Theorems 1 and 2 for every run; where a model leads by one of the two repairs, the statement on that; where data are
    collected, the statement on any data. NaN where the theorems do not speak of such a game.
    """
    if not certified(measurement):
        return dict.fromkeys(Certificate._fields, jnp.full((), jnp.nan))
    mdp, policy, model = measurement.mdp, evaluated["policy"], evaluated["model"]
    right = outcome(leader_at_truth(measurement, formulation))
    at_optimum = right["model"] if formulation.leader == "policy" else model
    found = certify(mdp, policy, model, at_optimum)._asdict()
    if formulation.leader == "model":
        reply = PLAYED["policy"](right["policy"])
        for certify_repair in (certify_reward, certify_noise):
            found |= certify_repair(measurement, formulation.leader_wants, policy, model, reply)
    if "data" in right:
        found |= certify_data(mdp, policy, model, right["data"])
    return found


def measure_profile(
    measurement: Measurement, formulation: Formulation, leader: Strategy, outcome: Outcome
) -> tuple[Metrics, Profile]:
    """The exact numbers of the profile that results when the leader plays `leader` greedily.

    Returns the metrics and the evaluated profile; `exact_return` is the greedy policy's, `exact_return_stochastic`
    that of the policy as it is.
    """
    leader_played = PLAYED[formulation.leader](leader)
    profile = outcome(leader_played)
    follower = profile[formulation.follower]
    stochastic = leader if formulation.leader == "policy" else follower
    evaluated = {role: PLAYED[role](profile[role]) for role in PLAYED}
    exact = {name: payoffs(measurement)[name].exact(evaluated) for name in MEASURED_PAYOFFS}
    occupancy = finite_horizon_occupancy(measurement.mdp, evaluated["policy"])
    losses = {
        f"fit_{name}": -expected_loss(measurement._replace(loss=loss), occupancy, evaluated["model"])
        for name, loss in LOSSES.items()
    }
    return losses | {
        "exact_return": exact["real_return"],
        "exact_return_stochastic": finite_horizon_return(measurement.mdp, stochastic),
        "model_return": exact["model_return"],
        "fit": exact["fit"],
        "random_fit": exact["random_fit"],
        "follower_gap": follower_regret(measurement, formulation, profile),
    }, evaluated


def make_measures(
    measurement: Measurement,
    formulation: Formulation,
    priors: Mapping[Role, Callable[[jax.Array], Strategy]],
    heard: Mapping[Role, Callable[[jax.Array, Strategy], Strategy]],
) -> Measures:
    """All of it for one formulation."""
    mdp, leader = measurement.mdp, formulation.leader

    def follower(key: jax.Array, outcome: Outcome, num_leaders: int) -> Metrics:
        def regret(profile: Profile) -> jax.Array:
            return follower_regret(measurement, formulation, profile)

        return {
            "follower_gap_true": regret_at_truth(measurement, formulation, outcome),
            "follower_gap_random": mean_regret(
                key, leader, priors[leader], heard[leader], outcome, regret, num_leaders
            ),
        }

    def at_the_end(evaluated: Profile, metrics: Metrics, outcome: Outcome) -> Metrics:
        optimal, uniform = finite_horizon_optimum(mdp).value, finite_horizon_return(mdp, uniform_policy(mdp))
        told = certificate(measurement, formulation, outcome, evaluated)
        return verdict(metrics["exact_return"], optimal, uniform) | told

    return Measures(
        profile=lambda strategy, outcome: measure_profile(measurement, formulation, strategy, outcome),
        follower=follower,
        verdict=at_the_end,
        sampled_returns=lambda key, evaluated, num: sampled_returns(key, mdp, evaluated["policy"], num),
        unknown=UNBOUNDED if certified(measurement) else UNBOUNDED.union(Certificate._fields),
    )


def sampled_returns(key: jax.Array, mdp: TabularMDP, policy: jax.Array, num_episodes: int) -> jax.Array:
    """`[N]`: returns of `policy` `[(T,) S, A]` in N episodes of the true world, discounted by its own γ."""
    environment = tabular_environment(mdp)

    def episode(key: jax.Array) -> jax.Array:
        key_reset, key_steps = jax.random.split(key)
        observation, state = environment.reset(key_reset)

        def step(carry, key: jax.Array):
            observation, state, alive, total = carry
            key_action, key_step = jax.random.split(key)
            action = jax.random.categorical(key_action, jnp.log(observation @ at_time(policy, state.time)))
            weight = 1.0 if mdp.discount == 1.0 else mdp.discount**state.time
            observation, state, reward, terminated, truncated, _ = environment.step(key_step, state, action)
            total = total + jnp.where(alive, weight * reward, 0.0)
            return (observation, state, alive & ~(terminated | truncated), total), None

        start = (observation, state, jnp.array(True), jnp.zeros_like(mdp.initial[0]))
        (_, _, _, total), _ = jax.lax.scan(step, start, jax.random.split(key_steps, mdp.horizon))
        return total

    return jax.vmap(episode)(jax.random.split(key, num_episodes))
