"""sbmrl's side of the comparison with rejax: PPO on CartPole-v1, all seeds side by side, spread over all devices."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from peer_serve import Answer, Requests, serve

from sbmrl.core.devices import make_mesh, map_over_devices, over_devices
from sbmrl.core.environment import auto_reset
from sbmrl.core.gymnax_adapter import from_gymnax
from sbmrl.core.players import MultiLayerPerceptron, Params, actor_critic
from sbmrl.core.rollout import rollout, start
from sbmrl.learners.ppo import PPOOptions, ppo
from sbmrl.sweep.execute import prepare_devices
from sbmrl.sweep.files import describe_machine
from sbmrl.sweep.memory import bytes_of_arrays, num_groups_of


def ppo_options(settings: Answer) -> PPOOptions:
    """What both sides agree on, in sbmrl's words."""
    hidden = tuple(settings["hidden"])
    return PPOOptions(
        total_steps=settings["total_steps"],
        num_environments=settings["num_environments"],
        num_steps=settings["num_steps"],
        minibatch_size=settings["num_environments"] * settings["num_steps"] // settings["num_minibatches"],
        num_epochs=settings["num_epochs"],
        actor_hidden=hidden,
        critic_hidden=hidden,
        learning_rate=settings["learning_rate"],
        discount=settings["discount"],
        gae_lambda=settings["gae_lambda"],
        clip_range=settings["clip_range"],
        entropy_coefficient=settings["entropy_coefficient"],
        value_coefficient=settings["value_coefficient"],
        max_gradient_norm=settings["max_gradient_norm"],
    )


def make_training(settings: Answer, num_points: int) -> Callable[[jax.Array], tuple[Params, jax.Array]]:
    """(key) -> (trained parameters, mean return at `num_points` equally spaced points `[num_points]`), of one seed.

    A return is of `num_episodes` episodes of at most `max_episode_steps`, actions drawn from the policy.
    """
    environment, observation_size, num_actions = from_gymnax("CartPole-v1")
    options = ppo_options(settings)
    actor = MultiLayerPerceptron(options.actor_hidden, num_actions, output_gain=1.0)  # about rejax's LeCun-normal start
    player = actor_critic(actor, options.critic_hidden, "categorical", observation_size)
    learner = ppo(lambda opponent: environment, player, options)
    updates_per_point = options.total_steps // learner.steps_per_update // max(num_points, 1)

    def mean_return(key: jax.Array, params: Params) -> jax.Array:
        def answer(key: jax.Array, observation: jax.Array) -> jax.Array:
            return player.distribution(params, observation).sample(seed=key)

        key_start, key_play = jax.random.split(key)
        running = start(key_start, environment, settings["num_episodes"])
        _, played = rollout(key_play, auto_reset(environment), answer, running, settings["max_episode_steps"])
        ended = jnp.cumsum(played.terminated | played.truncated, axis=0)
        before = jnp.pad(ended[:-1], ((1, 0), (0, 0)))  # episodes that ended before this step
        return jnp.sum(jnp.where(before == 0, played.reward, 0.0), axis=0).mean()

    def updates(state: Any, key: jax.Array) -> Any:
        keys = jax.random.split(key, updates_per_point)
        return jax.lax.scan(lambda state, key: (learner.update(key, state, None)[0], None), state, keys)[0]

    def point(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        key_updates, key_measure = jax.random.split(key)
        state = updates(state, key_updates)
        return state, mean_return(key_measure, learner.params(state))

    def train(key: jax.Array) -> tuple[Params, jax.Array]:
        key_init, key_train = jax.random.split(key)
        state = learner.init(key_init, None)
        if num_points == 0:
            return learner.params(updates(state, key_train)), jnp.zeros(0)
        state, curve = jax.lax.scan(point, state, jax.random.split(key_train, num_points))
        return learner.params(state), curve

    return train


def prepare(settings: Answer) -> tuple[Answer, Requests]:
    """Compile training without evaluation, which is timed; with evaluation it is compiled when first asked for."""
    prepare_devices()
    mesh = make_mesh(jax.devices())
    num_seeds, total_steps, num_points = settings["num_seeds"], settings["total_steps"], settings["num_points"]
    keys = jax.device_put(jax.random.split(jax.random.key(0), num_seeds), over_devices(mesh))

    def compiled(num_points: int) -> Callable[[jax.Array], tuple[Params, jax.Array]]:
        training = make_training(settings, num_points)
        params, _ = jax.eval_shape(training, jax.random.key(0))
        state_bytes = 3 * bytes_of_arrays(params)  # with Adam's two moments
        num_groups = num_groups_of(num_seeds // mesh.size, state_bytes)
        return map_over_devices(training, mesh, (True,), num_groups=num_groups).lower(keys).compile()  # pyright: ignore

    began = time.perf_counter()
    training = compiled(0)
    compile_seconds = time.perf_counter() - began

    def timed() -> Answer:
        began = time.perf_counter()
        jax.block_until_ready(training(keys))
        return {"steps": num_seeds * total_steps, "seconds": time.perf_counter() - began}

    def learned() -> Answer:
        _, curve = compiled(num_points)(keys)
        steps = [total_steps // num_points * (point + 1) for point in range(num_points)]
        return {"steps": steps, "metrics": {"return": curve.T.tolist()}}

    ready = {"compile_seconds": compile_seconds, "machine": describe_machine()}
    return ready, {"time": timed, "learn": learned}


if __name__ == "__main__":
    serve(prepare)
