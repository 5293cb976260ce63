"""rejax's side: its PPO on CartPole-v1, all seeds side by side.

With one device as its README says, `jax.jit(jax.vmap(train))`; with several, as the README says too, `jax.pmap` over
them. What cannot be made equal to sbmrl's PPO is listed in `NOT_EQUAL`.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
from peer_serve import Answer, Requests, serve, versions
from rejax import PPO
from rejax.evaluate import evaluate

NOT_EQUAL = (
    "rejax's Adam has epsilon 1e-8, sbmrl's 1e-5; rejax has one Adam for the actor and one for the critic",
    "rejax clips the change of the value at clip_range, sbmrl does not",
    "rejax starts from LeCun-normal weights, sbmrl from orthogonal ones, of gain √2 in hidden layers",
    "rejax takes the time limit of 500 steps for an end (gymnax 0.0.9), sbmrl bootstraps behind it (gymnax 1)",
    "rejax shuffles single samples, sbmrl time steps of all environments",
)


def make_ppo(settings: Answer) -> PPO:
    """What both sides agree on, in rejax's words; without any evaluation."""
    return PPO.create(
        env="CartPole-v1",
        total_timesteps=settings["total_steps"],
        num_envs=settings["num_environments"],
        num_steps=settings["num_steps"],
        num_epochs=settings["num_epochs"],
        num_minibatches=settings["num_minibatches"],
        agent_kwargs={"activation": "tanh", "hidden_layer_sizes": settings["hidden"]},
        learning_rate=settings["learning_rate"],
        gamma=settings["discount"],
        gae_lambda=settings["gae_lambda"],
        clip_eps=settings["clip_range"],
        ent_coef=settings["entropy_coefficient"],
        vf_coef=2.0 * settings["value_coefficient"],  # rejax halves the squared error
        max_grad_norm=settings["max_gradient_norm"],
        skip_initial_evaluation=True,
        eval_freq=settings["total_steps"],
    ).replace(eval_callback=lambda algorithm, state, key: ())


def prepare(settings: Answer) -> tuple[Answer, Requests]:
    """Compile training without evaluation, which is timed; with evaluation it is compiled when first asked for."""
    num_devices = len(jax.devices())
    num_seeds, total_steps, num_points = settings["num_seeds"], settings["total_steps"], settings["num_points"]
    keys = jax.random.split(jax.random.key(0), num_seeds)
    if num_devices > 1:
        keys = keys.reshape(num_devices, -1)

    def compiled(algorithm: PPO) -> Callable[[jax.Array], Any]:
        train = jax.vmap(algorithm.train)
        return (jax.jit(train) if num_devices == 1 else jax.pmap(train)).lower(keys).compile()

    def mean_return(algorithm: PPO, state: Any, key: jax.Array) -> jax.Array:
        act, limit = algorithm.make_act(state), settings["max_episode_steps"]
        _, returns = evaluate(act, key, algorithm.env, algorithm.env_params, settings["num_episodes"], limit)
        return returns.mean()

    algorithm = make_ppo(settings)
    began = time.perf_counter()
    training = compiled(algorithm)
    compile_seconds = time.perf_counter() - began

    def timed() -> Answer:
        began = time.perf_counter()
        jax.block_until_ready(training(keys))
        return {"steps": num_seeds * total_steps, "seconds": time.perf_counter() - began}

    def learned() -> Answer:
        evaluated = algorithm.replace(eval_freq=total_steps // num_points, eval_callback=mean_return)
        _, curve = compiled(evaluated)(keys)
        steps = [total_steps // num_points * (point + 1) for point in range(num_points)]
        return {"steps": steps, "metrics": {"return": curve.reshape(num_seeds, num_points).T.tolist()}}

    ready = {
        "compile_seconds": compile_seconds,
        "not_equal": NOT_EQUAL,
        "versions": versions("rejax", "gymnax", "jax", "jaxlib", "flax", "optax", "distrax", "numpy"),
    }
    return ready, {"time": timed, "learn": learned}


if __name__ == "__main__":
    serve(prepare)
