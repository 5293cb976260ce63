"""The game of model-based RL on a linear-quadratic world: two linear players.

A policy's strategy is its gain K `[m, n]`, u = −K x; a model's is [Â B̂] `[n, n + m]`. A linear player is told entirely
by its answers to the unit vectors, so these are its queries: a policy's are the n unit states, a model's the n + m unit
pairs of state and action. An episode is cut where what follows is discounted by `CUT`.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Formulation, Role
from sbmrl.core.game import Game, Seat, Strategy
from sbmrl.games.linear_quadratic.closed_forms import best_response, occupancy, riccati, square_root
from sbmrl.games.linear_quadratic.measures import make_measures
from sbmrl.games.linear_quadratic.options import LinearQuadraticOptions
from sbmrl.games.linear_quadratic.payoffs import LOSSES, Measurement, Play, payoffs
from sbmrl.games.linear_quadratic.responses import exact_response, iterated_response
from sbmrl.games.linear_quadratic.system import LinearQuadraticSystem, control_part, state_part

CUT = 1e-3  # an episode's last step counts this part of the first
_NUM_RANDOM = 256  # policies behind the data of random policies, drawn once from a fixed key
_WEAKEST, _STRONGEST = 0.1, 3.0  # a random model's actuator against the true one
_SPREAD = 0.05  # of a random model's entries around the true ones


class SeatState(NamedTuple):
    """Where a played episode stands.

    Attributes:
        state: `[n]` x.
        control: `[m]` u that the driver has chosen in x (the model's seat answers it; unused by the policy's).
        time: `[]` decisions made so far.
        other: the other side's strategy in this episode.
        play: the kind of episode.
    """

    state: jax.Array
    control: jax.Array
    time: jax.Array
    other: Strategy
    play: Play


def horizon_of(system: LinearQuadraticSystem) -> int:
    """T with γᵀ ≤ `CUT`."""
    return math.ceil(math.log(CUT) / math.log(system.discount))


class _World(NamedTuple):
    """A system with the roots of its covariances `[n, n]`, from which starts and noise are drawn."""

    system: LinearQuadraticSystem
    initial: jax.Array
    noise: jax.Array

    def start(self, key: jax.Array) -> jax.Array:
        """`[n]` x₀."""
        return self.initial @ jax.random.normal(key, (self.system.num_states,))

    def move(
        self, key: jax.Array, now: SeatState, control: jax.Array, predicted: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """One move of either seat: (x', step rewards); `predicted` `[n]` is what the model expects at (x, u)."""
        system, state, discount = self.system, now.state, self.system.discount**now.time
        expected = system.truth @ jnp.concatenate([state, control])
        noise = self.noise @ jax.random.normal(key, state.shape)
        paid = state @ system.state_cost @ state + control @ system.control_cost @ control
        wrong = (1.0 - system.discount) * jnp.sum((predicted - expected) ** 2)
        following = jnp.where(now.play.in_model, predicted, expected) + noise
        return following, {"return": -discount * paid, "fit": -discount * wrong}


def _policy_seat(world: _World) -> Seat:
    system = world.system

    def reset(key: jax.Array, model: Strategy, play: Play) -> SeatState:
        return SeatState(world.start(key), jnp.zeros(system.num_controls), jnp.int32(0), model, play)

    def step(key: jax.Array, now: SeatState, answer: jax.Array):
        following, earned = world.move(key, now, answer, now.other @ jnp.concatenate([now.state, answer]))
        return now._replace(state=following, time=now.time + 1), earned, jnp.array(False), {}

    return Seat(
        jnp.eye(system.num_states),
        lambda now: now.state,
        reset,
        step,
        table=lambda outputs: -outputs.T,
        rows=lambda gain: -gain.T,
        heard=lambda answers: -answers.T,
        num_outputs=system.num_controls,
        head="gaussian",
        linear=True,
    )


def _model_seat(
    world: _World, random_policy: Callable[[jax.Array], Strategy], action_noise: jax.typing.ArrayLike
) -> Seat:
    system = world.system

    def drive(key: jax.Array, policy: Strategy, play: Play, state: jax.Array) -> jax.Array:
        spread = jnp.sqrt(jnp.where(play.random_driver, 1.0, action_noise))
        return spread * jax.random.normal(key, (system.num_controls,)) - policy @ state

    def reset(key: jax.Array, policy: Strategy, play: Play) -> SeatState:
        key_state, key_action, key_random = jax.random.split(key, 3)
        driver = jnp.where(play.random_driver, random_policy(key_random), policy)
        state = world.start(key_state)
        return SeatState(state, drive(key_action, driver, play, state), jnp.int32(0), driver, play)

    def step(key: jax.Array, now: SeatState, answer: jax.Array):
        key_next, key_action = jax.random.split(key)
        following, earned = world.move(key_next, now, now.control, answer)
        control = drive(key_action, now.other, now.play, following)
        now = now._replace(state=following, control=control, time=now.time + 1)
        return now, earned, jnp.array(False), {"next_state": following}

    return Seat(
        jnp.eye(system.num_states + system.num_controls),
        lambda now: jnp.concatenate([now.state, now.control]),
        reset,
        step,
        table=lambda outputs: outputs.T,
        rows=lambda model: model.T,
        heard=lambda answers: answers.T,
        num_outputs=system.num_states,
        head="gaussian",
        linear=True,
    )


def random_model(key: jax.Array, system: LinearQuadraticSystem) -> jax.Array:
    """`[n, n + m]`: every entry near the true one, the actuator scaled by a factor that is log-uniform in .1–3."""
    key_entries, key_scale = jax.random.split(key)
    bounds = jnp.log(jnp.array([_WEAKEST, _STRONGEST]))
    scale = jnp.exp(jax.random.uniform(key_scale, minval=bounds[0], maxval=bounds[1]))
    near = _SPREAD * jax.random.normal(key_entries, system.truth.shape)
    return jnp.concatenate([state_part(system.truth), scale * control_part(system.truth)], axis=1) + near


def _starts(system: LinearQuadraticSystem) -> dict[Role, Mapping[str, Callable[[jax.Array], jax.Array]]]:
    """A model that believes its actuator too weak or has every entry off by up to .05, or the truth.

    A policy: the optimal one with all of its gain too small, the best for a model with its entries off, or the optimum.
    """

    def scale(key: jax.Array) -> jax.Array:
        return jnp.exp(jax.random.uniform(key, minval=jnp.log(0.03), maxval=jnp.log(0.6)))

    def weak(key: jax.Array) -> jax.Array:
        return jnp.concatenate([state_part(system.truth), scale(key) * control_part(system.truth)], axis=1)

    def near(key: jax.Array) -> jax.Array:
        return system.truth + jax.random.uniform(key, system.truth.shape, minval=-0.05, maxval=0.05)

    def best(model: jax.Array) -> jax.Array:
        return riccati(system, model).gain

    models = {"weak": weak, "random": near, "truth": lambda key: system.truth}
    policies = {
        "weak": lambda key: scale(key) * best(system.truth),
        "random": lambda key: best(near(key)),
        "truth": lambda key: best(system.truth),
    }
    return {
        "model": {name: lambda key, model=model: model(key).T for name, model in models.items()},
        "policy": {name: lambda key, policy=policy: -policy(key).T for name, policy in policies.items()},
    }


class RandomPolicies(NamedTuple):
    """Policies drawn once from a fixed key, of which only those count that are stable in the world.

    Attributes:
        gains: `[N, m, n]`.
        stable: `[N]` bool.
        data: `[n + m, n + m]` E Z_K over the stable ones, actions with noise of variance 1.
    """

    gains: jax.Array
    stable: jax.Array
    data: jax.Array

    def draw(self, key: jax.Array) -> jax.Array:
        """`[m, n]` one that is stable."""
        return self.gains[jax.random.categorical(key, jnp.where(self.stable, 0.0, -jnp.inf))]


@functools.partial(jax.jit, static_argnames="num_policies")
def _random_policies(system: LinearQuadraticSystem, num_policies: int) -> RandomPolicies:
    keys = jax.random.split(jax.random.key(0), num_policies)
    gains = jax.vmap(lambda key: riccati(system, random_model(key, system)).gain)(keys)
    data = jax.vmap(occupancy, (None, 0, None))(system, gains, 1.0)
    stable = jnp.all(jnp.isfinite(data), axis=(1, 2))
    counted = jnp.where(stable[:, None, None], data, 0.0)
    return RandomPolicies(gains, stable, jnp.sum(counted, axis=0) / jnp.sum(stable))


@functools.partial(jax.jit, static_argnames="num_leaders")
def _scale_of_models(system: LinearQuadraticSystem, num_leaders: int = 1024) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation `[n, n + m]` of the entries of random models."""
    drawn = jax.vmap(random_model, (0, None))(jax.random.split(jax.random.key(1), num_leaders), system)
    return jnp.mean(drawn, axis=0), jnp.std(drawn, axis=0)


def linear_quadratic_game(
    system: LinearQuadraticSystem, formulation: Formulation, options: LinearQuadraticOptions
) -> Game:
    """The game on `system`. A random policy is the optimal control of a random model."""
    at_random = _random_policies(system, _NUM_RANDOM)
    measurement = Measurement(system, LOSSES[options.loss], options.action_noise, at_random.data)
    mean, spread = _scale_of_models(system)
    world = _World(system, square_root(system.initial), square_root(system.noise))
    priors = {
        "model": lambda key: random_model(key, system),
        "policy": lambda key: best_response(system, random_model(key, system)).gain,
    }
    return Game(
        system,
        horizon_of(system),
        seats={"policy": _policy_seat(world), "model": _model_seat(world, at_random.draw, options.action_noise)},
        payoffs=payoffs(measurement),
        priors=priors,
        heard=dict.fromkeys(("policy", "model"), lambda key, strategy: strategy),
        describe={"policy": jnp.ravel, "model": lambda model: ((model - mean) / spread).ravel()},
        played=dict.fromkeys(("policy", "model"), lambda strategy: strategy),
        starts=_starts(system),
        measures=lambda formulation: make_measures(measurement, formulation, priors[formulation.leader]),
        best_response=lambda formulation, options: exact_response(system, options),
        soft_response=lambda formulation, options: iterated_response(system, formulation, options),
        effective_horizon=1.0 / (1.0 - system.discount),
    )
