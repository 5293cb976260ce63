"""What the experiments share: many worlds in one program, sampled fractions with intervals, figures."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sbmrl
from sbmrl.core.devices import make_mesh, map_over_devices
from sbmrl.display.statistics import fraction_interval
from sbmrl.games.tabular.catalogue import WORLDS
from sbmrl.games.tabular.mdp import TabularMDP
from sbmrl.sweep.execute import prepare_devices, seed_keys

prepare_devices()  # before anything here touches a device

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
# Worlds that differ in nothing that shapes a program, so that one compile serves them all.
GROUPS = (
    ("simple_mdp_1", "simple_mdp_2", "simple_mdp_2_variant_1", "simple_mdp_2_variant_2"),
    ("simple_mdp_2_endless", "ergodic_mdp_1", "mdp_erg_det_3", "counterexample_2"),
    ("ergodic_mdp_2", "deterministic_mdp_1"),
    ("mdp_erg_det_2",),
    ("counterexample_1",),
)
assert sorted(name for group in GROUPS for name in group) == sorted(WORLDS)


def random_worlds(count: int, num_states: int = 4, num_actions: int = 2) -> TabularMDP:
    """The worlds random_S_A_0 … random_S_A_(count − 1), stacked."""
    draw = jax.vmap(lambda seed: sbmrl.random_mdp(jax.random.key(seed), num_states, num_actions))
    return draw(jnp.arange(count))


def stacked(names: Sequence[str]) -> TabularMDP:
    """Named worlds of one shape as one pytree, leading axis: worlds."""
    worlds = [sbmrl.make_world(name).replace(name="stacked") for name in names]
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *worlds)


def repeated(worlds: TabularMDP, times: int) -> TabularMDP:
    """Each world `times` times in a row."""
    return jax.tree.map(lambda x: jnp.repeat(x, times, axis=0), worlds)


def finals(
    experiment: sbmrl.Experiment, worlds: TabularMDP, hyper: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """The final metrics `[N]` of one seed in each of N stacked worlds; `hyper` may hold `[N]` arrays."""
    # A run here is read once, at its end: no curve, no sampled episodes beyond one.
    small = experiment.replace(num_records=1, num_random_leaders=1, num_eval_episodes=1)
    count = len(worlds.initial)
    mesh = make_mesh(jax.local_devices())
    padded = -(-count // mesh.size) * mesh.size
    hyper = {name: jnp.broadcast_to(jnp.asarray(value, float), (count,)) for name, value in (hyper or {}).items()}
    worlds, hyper = jax.tree.map(lambda x: jnp.concatenate([x, x[: padded - count]]), (worlds, hyper))

    def train(key: jax.Array, mdp: TabularMDP, hyper: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        return sbmrl.make_train(small, mdp)(key, hyper).final.metrics

    run = map_over_devices(train, mesh, (True, True, True))
    return {name: np.asarray(value)[:count] for name, value in run(seed_keys(0, padded), worlds, hyper).items()}


def fraction(values: np.ndarray, finite: np.ndarray) -> dict[str, Any]:
    """The share of true values among the finite seeds, with its Clopper–Pearson interval."""
    return fraction_interval(int(values[finite].sum()), int(finite.sum()))._asdict() | {"count": int(finite.sum())}


def fooled(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The share of fooled runs."""
    return fraction(metrics["fooled"], metrics["finite"])


def save(stem: str, figure: Figure, numbers: Any) -> None:
    """The figure as SVG and PNG and its numbers as JSON, under docs/figures."""
    for suffix in (".svg", ".png"):
        figure.savefig(FIGURES / f"{stem}{suffix}", dpi=150)
    (FIGURES / f"{stem}.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    print(f"{FIGURES / stem}.svg, .png, .json")


def clean(axes: Axes) -> None:
    """No frame above and to the right."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


class Clock:
    """Prints what has just been done and how long it took."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def tick(self, text: str) -> None:
        """Print `text` and the seconds since the last tick."""
        now = time.perf_counter()
        print(f"{now - self.start:6.1f} s  {text}", flush=True)
        self.start = now
