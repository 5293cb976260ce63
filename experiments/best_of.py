"""What a simulated world of no known optimum can be judged by: the best of several long runs in the true world.

python experiments/best_of.py gymnax:Acrobot-v1 --num-runs 8 --steps 4000000

Each run is PAL whose model is the world itself, a policy gradient without a model. Printed are the means over 4,000
starts of each run's mean policy and of uniform actions: what goes into the world's `known`, with n and steps beside it.
The best of n is below the optimum but for chance, so a regret against it is one at least.
"""

import argparse
import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

import sbmrl
from sbmrl.games.continuous.catalogue import make_simulator
from sbmrl.games.continuous.episodes import meant, play, real_environment
from sbmrl.games.continuous.simulator import Box, Known, Simulator, rollout_returns
from sbmrl.learners.natural_policy_gradient import NaturalPolicyGradientOptions
from sbmrl.sweep.execute import prepare_devices

NUM_STARTS = 4_000
NOBODY_YET = Known(1.0, 0.0, "by nobody yet")


def uniform_return(simulator: Simulator) -> float:
    """The mean return of actions drawn uniformly."""
    actions = simulator.rules.actions

    def act(key: jax.Array, observation: jax.Array, time: jax.Array) -> jax.Array:
        if isinstance(actions, Box):
            return jax.random.uniform(
                key, (len(actions.low),), minval=jnp.array(actions.low), maxval=jnp.array(actions.high)
            )
        return jax.random.randint(key, (), 0, actions.num)

    return float(jnp.mean(rollout_returns(jax.random.key(0), simulator, act, NUM_STARTS)))


def run(name: str, num_runs: int, steps: int) -> None:
    """Train, evaluate and print."""
    simulator, begun = make_simulator(name), time.perf_counter()
    unjudged = f"unjudged:{name}"
    sbmrl.register(
        sbmrl.WorldRow(
            unjudged, "without a judge", "continuous", lambda: simulator.replace(name=unjudged, known=NOBODY_YET)
        )
    )
    policy = NaturalPolicyGradientOptions(
        total_steps=steps,
        num_environments=100,
        num_steps=simulator.horizon,
        actor_hidden=(64, 64),
        critic_hidden=(64, 64),
        num_fisher_samples=2000,
        step_size=0.02,
        value_minibatch_size=100,
        value_epochs=2,
    )
    if isinstance(simulator.rules.actions, Box):
        policy = dataclasses.replace(policy, initial_log_standard_deviation=-0.3)
    experiment = dataclasses.replace(sbmrl.preset("literal", "pal", env=unjudged), leader=policy)

    def best(key: jax.Array) -> jax.Array:
        policy = sbmrl.make_train(experiment)(key).final.profile["policy"]
        return jnp.mean(
            play(jax.random.key(1), real_environment(simulator), simulator, meant(policy), NUM_STARTS).returns
        )

    returns = np.asarray(jax.jit(jax.vmap(best))(jax.random.split(jax.random.key(0), num_runs)))
    print(f"{name}: uniform {uniform_return(simulator):.3f}")
    print(f"best of {num_runs} runs of {steps:,} steps: {returns.max():.3f}; all: {np.sort(returns).round(3).tolist()}")
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env")
    parser.add_argument("--num-runs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2_000_000)
    told = parser.parse_args()
    prepare_devices()
    run(told.env, told.num_runs, told.steps)
