"""A cell that a run has left, finished or not: its files read back, and its runs as agents ready to act."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from sbmrl.core.experiment import Experiment, compose
from sbmrl.core.game import Acting, Game, at_time
from sbmrl.core.parts import World
from sbmrl.core.stackelberg import GameState
from sbmrl.errors import InputError, require, require_known
from sbmrl.experiment.program import make_program
from sbmrl.experiment.solver import make_game
from sbmrl.sweep import store
from sbmrl.sweep.checkpoint import damage, newest, read_state
from sbmrl.sweep.execute import Runs, abstract_states, all_runs, pack, part, seed_keys, traced_values, unpack
from sbmrl.sweep.plan import CellPlan


@dataclasses.dataclass(frozen=True)
class Agent:
    """One trained run, ready to act in its world.

    Attributes:
        experiment: its configuration.
        world: the true world.
        profile: role -> the evaluated strategy, as its kind of game has it: in model-based RL on tables "policy"
            `[(T,) S, A]` and "model" `[S, A, S]`, T where it was planned with a clock; in simulated worlds functions.
        params: {"leader": …, "follower": …} trained parameters, as flax or plain tables have them.
        results: the run's row of the results.
    """

    experiment: Experiment
    world: World
    profile: Mapping[str, Any]
    params: Mapping[str, Any]
    results: Mapping[str, Any]

    @functools.cached_property
    def game(self) -> Game:
        """The game that was played."""
        return make_game(self.experiment, self.world)

    @property
    def acting(self) -> list[str]:
        """The roles that answer by actions, the leader first."""
        formulation = compose(self.experiment).formulation
        roles = (formulation.leader, formulation.follower)
        functions = {role for role in roles if isinstance(self.profile[role], Acting)}
        return [role for role in roles if role in functions or self.game.seats[role].head == "categorical"]

    def act(
        self, key: jax.Array, state: jax.Array | int, time: jax.Array | int = 0, role: str | None = None
    ) -> jax.Array:
        """`[]` an action in `state` (where a player sees less, of what it sees), `time` decisions in; pure.

        Of a player that is a function `state` is an observation `[D]`, and the answer is as its network gives it.

        Raises:
            InputError: `role` is none of the run's that acts.
        """
        role = role or self.acting[0]
        require_known(role, "role", self.acting)
        strategy = self.profile[role]
        if isinstance(strategy, Acting):
            return strategy.sample(key, jnp.asarray(state), time)
        return jax.random.categorical(key, jnp.log(at_time(strategy, time)[state]))

    def play(self, key: jax.Array, num_episodes: int) -> jax.Array:
        """`[num_episodes]` undiscounted returns in the true world: the policy's, or the leader's."""
        measures = self.game.measures(compose(self.experiment).formulation)
        return measures.sampled_returns(key, self.profile, num_episodes)


class LoadedState(NamedTuple):
    """The trained states `[N, ...]` of a finished chunk, and its runs."""

    runs: Runs
    state: GameState


@dataclasses.dataclass(frozen=True)
class LoadedCell:
    """A cell of a run, finished or not.

    Attributes:
        name: its directory's name, or that of the whole run where it is the only cell.
        directory: where it lies.
        plan: its experiment and axes.
        num_seeds: seeds of each point.
        seed: root of all random numbers.
        world: the true world.
    """

    name: str
    directory: Path
    plan: CellPlan
    num_seeds: int
    seed: int
    world: World

    @property
    def experiment(self) -> Experiment:
        """The configuration; its traced fields are those of no axis."""
        return self.plan.experiment

    @property
    def runs(self) -> Runs:
        """All runs of the cell, done or not, in the order of the files."""
        return all_runs(self.num_seeds, self.plan.points())

    @property
    def static(self) -> Mapping[str, Any]:
        """What tells the cell apart from the others of its plan."""
        return dict(self.plan.static)

    @property
    def has_profiles(self) -> bool:
        """Whether evaluated strategies are on disk."""
        return bool(store.finished_chunks(self.directory))

    def seed_of(self, run: int) -> int:
        """The seed of a run, by its row of the results."""
        return int(self.runs.seeds[run])

    @property
    def finished(self) -> bool:
        """Whether all runs are done."""
        return (self.directory / "results.parquet").is_file()

    def _chunks(self, needed: str | None) -> Iterator[tuple[Path, Runs]]:
        """The finished chunks and their runs; of the files, the `needed` one, or all, are held against their checksums.

        Raises:
            InputError: one is damaged.
        """
        runs = self.runs
        for path in store.finished_chunks(self.directory):
            _require_good(path, needed)
            yield path, part(runs, int(path.name), store.read_chunk(path).num_runs)

    def results(self) -> pl.DataFrame:
        """One row a run, of the finished chunks.

        Raises:
            InputError: a file is damaged or of another program.
        """
        if self.finished:
            return _read_results(self.directory / "results.parquet")
        frames = [_read_results(path / "results.parquet") for path, _ in self._chunks("results.parquet")]
        return pl.concat(frames) if frames else pl.DataFrame()

    def curves(self) -> pl.DataFrame:
        """The learning curves, long; those of a chunk in progress up to its newest checkpoint.

        Raises:
            InputError: a file is damaged.
        """
        if self.finished:
            return _read(self.directory / "metrics.parquet")
        frames = [_read(path / "metrics.parquet") for path, _ in self._chunks("metrics.parquet")]
        for where in sorted((self.directory / "checkpoints").glob("????????")):
            found = newest(where, lambda line: None)
            if found is not None:
                curves = store.read_curves(found)
                count = len(next(iter(curves[0].metrics.values())))
                frames.append(store.metrics_frame(curves, part(self.runs, int(where.name), count)))
        return pl.concat(frames) if frames else pl.DataFrame()

    def seconds(self) -> dict[str, float]:
        """What the finished chunks took: "compile" and "run"."""
        return store.seconds_of([path for path, _ in self._chunks("chunk.json")])

    def profile(self, run: int) -> dict[str, Any]:
        """Role -> the evaluated strategy of a run, by its row of the results.

        Raises:
            InputError: its chunk is not finished, or damaged.
        """
        path, own = self._chunk_of(run, "profiles.npz")
        with np.load(path / "profiles.npz") as arrays:
            found = {name: jnp.asarray(arrays[name][own]) for name in arrays.files}
        if not any("/" in name for name in found):
            return found
        program, key = make_program(self.experiment, self.world), jax.random.key(0)
        like = jax.eval_shape(program.finish, key, traced_values(self.experiment), self._like()).profile
        return {role: _unflat(role, strategy, found) for role, strategy in like.items()}

    def states(self) -> Iterator[LoadedState]:
        """The trained states, chunk by chunk.

        Raises:
            InputError: a chunk is damaged, or of another program.
        """
        like = self._like()
        for path, runs in self._chunks(None):
            packed = self._read_state(path, like)
            count = len(runs)
            yield LoadedState(runs, unpack(jax.tree.map(lambda x, count=count: x[:count], packed), like))

    def state(self, run: int) -> GameState:
        """The trained state of a run, by its row of the results.

        Raises:
            InputError: its chunk is not finished, damaged, or of another program.
        """
        path, own = self._chunk_of(run, None)
        like = self._like()
        return unpack(jax.tree.map(lambda x: x[own], self._read_state(path, like)), like)

    def evaluate(self, num_episodes: int, seed: int) -> dict[str, np.ndarray]:
        """The final metrics `[N]` of the trained states, computed here, with `num_episodes` fresh episodes each.

        Raises:
            InputError: a chunk is damaged, or of another program.
        """
        program = make_program(dataclasses.replace(self.experiment, num_eval_episodes=num_episodes), self.world)
        fixed = traced_values(self.experiment)
        finish = jax.jit(jax.vmap(lambda key, own, state: program.finish(key, {**fixed, **own}, state).metrics))
        parts = []
        for runs, state in self.states():
            parts.append(jax.tree.map(np.asarray, finish(seed_keys(seed, runs.seeds), dict(runs.hyper), state)))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *parts)

    def find(self, seed: int, **values: float) -> int:
        """The row of a seed at a point of the axes; dots of a name may be written as double underscores.

        Raises:
            InputError: there is none, or more than one, such as where the value of an axis is missing.
        """
        runs = self.runs
        chosen = runs.seeds == seed
        for name, value in values.items():
            name = name.replace("__", ".")
            require_known(name, "axis", list(runs.hyper))
            chosen &= np.isclose(runs.hyper[name], value, rtol=1e-5, atol=1e-9)
        found = np.flatnonzero(chosen)
        axes = ", ".join(f"{axis.name} in {list(axis.values)}" for axis in self.plan.axes)
        allowed = f"must be one run of {self.num_seeds} seeds" + (f" with {axes}" if axes else "")
        require(len(found) == 1, f"{self.name}: seed {seed}, {values}", allowed, f"{len(found)} runs")
        return int(found[0])

    def agent(self, seed: int = 0, **values: float) -> Agent:
        """A trained run, ready to act: `cell.agent(3, alpha=0.5)`.

        Raises:
            InputError: there is no such run, it is not finished, or its files are damaged.
        """
        run = self.find(seed, **values)
        profile, state = self.profile(run), self.state(run)
        params = make_program(self.experiment, self.world).params(state)
        path, own = self._chunk_of(run, "results.parquet")
        row = _read_results(path / "results.parquet").row(own, named=True)
        return Agent(self.experiment, self.world, profile, params, row)

    def _chunk_of(self, run: int, needed: str | None) -> tuple[Path, int]:
        """The finished chunk with a run, and the run's place in it."""
        for path, runs in self._chunks("chunk.json"):
            if int(path.name) <= run < int(path.name) + len(runs):
                _require_good(path, needed)
                return path, run - int(path.name)
        raise InputError(f"{self.directory}: run {run} is not finished")

    def _like(self) -> GameState:
        program = make_program(self.experiment, self.world)
        return jax.eval_shape(program.init, jax.random.key(0), traced_values(self.experiment))

    def _read_state(self, path: Path, like: GameState) -> Any:
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        try:
            packed = jax.eval_shape(pack, like)
            return read_state(path / "state", abstract_states(packed, store.read_chunk(path).width, here))
        except Exception as error:  # orbax and tensorstore raise many kinds for a state of another shape
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise InputError(f"{path}: cannot be restored ({reason})") from error


def _unflat(role: str, like: Any, found: Mapping[str, jax.Array]) -> Any:
    """The inverse of how a chunk's files keep a strategy."""
    if role in found:
        return found[role]
    tree = jax.tree.structure(like)
    return jax.tree.unflatten(tree, [found[f"{role}/{i}"] for i in range(tree.num_leaves)])


def _require_good(chunk: Path, needed: str | None) -> None:
    wrong = damage(chunk, needed)
    require(wrong is None, str(chunk), "must be a finished chunk (--resume runs it again)", wrong)


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except Exception as error:  # polars raises many kinds for a damaged file
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error


def _read_results(path: Path) -> pl.DataFrame:
    results = _read(path)
    missing = [name for name in store.RESULT_COLUMNS if name not in results.columns]
    require(not missing, str(path), f"must have the columns {', '.join(store.RESULT_COLUMNS)}", f"none of {missing}")
    return results
