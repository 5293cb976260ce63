"""rejax's side: its PPO or SAC on gymnax's Pendulum-v1, all seeds side by side, with the settings that it ships for it.

Returns are by rejax's own evaluation: means of 128 episodes, actions drawn from the policy. Real steps are those that
rejax has counted, because it rounds the steps between two evaluations up to whole iterations and trains on accordingly.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
from peer_serve import Answer, Requests, serve, versions
from rejax import get_algo
from rejax.algos import Algorithm

NOTES = (
    "returns are of actions drawn from the policy (rejax's evaluation has no other)",
    "timed is training without evaluation, compiled apart",
)


def make_algorithm(settings: Answer) -> Algorithm:
    """The algorithm, whose evaluations say after how many real steps they were made."""
    algorithm = get_algo(settings["algorithm"]).create(
        env="Pendulum-v1",
        total_timesteps=settings["total_steps"],
        eval_freq=settings["steps_per_point"],
        **settings["options"],
    )
    evaluate = algorithm.eval_callback

    def counted(algorithm: Algorithm, state: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, returns = evaluate(algorithm, state, key)
        return state.global_step, returns.mean()

    return algorithm.replace(eval_callback=counted)


def prepare(settings: Answer) -> tuple[Answer, Requests]:
    """Compile training without evaluation, which is timed; with evaluation it is compiled when first asked for."""
    keys = jax.random.split(jax.random.key(settings["seed"]), settings["num_seeds"])

    def compiled(algorithm: Algorithm) -> Callable[[jax.Array], Any]:
        return jax.jit(jax.vmap(algorithm.train)).lower(keys).compile()

    algorithm = make_algorithm(settings)
    began, processor = time.perf_counter(), time.process_time()
    training = compiled(algorithm.replace(eval_callback=lambda algorithm, state, key: (), skip_initial_evaluation=True))
    compile_seconds = time.perf_counter() - began

    def timed() -> Answer:
        began = time.perf_counter()
        jax.block_until_ready(training(keys))
        return {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - processor}

    def learned() -> Answer:
        _, (steps, returns) = compiled(algorithm)(keys)
        return {"steps": steps[0].tolist(), "returns": returns.T.tolist()}

    own = versions("rejax", "gymnax", "jax", "jaxlib", "flax", "optax", "distrax", "numpy")
    ready = {"compile_seconds": compile_seconds, "notes": NOTES, "versions": own}
    return ready, {"time": timed, "learn": learned}


if __name__ == "__main__":
    serve(prepare)
