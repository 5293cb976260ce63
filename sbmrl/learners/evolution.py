"""Evolution strategies: for payoffs whose gradient says nothing, as through a hard response."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.free_players import USUAL, free_player
from sbmrl.core.game import Info, Outcome, Strategy
from sbmrl.core.learner import Learner, Task, Trainee, answers_of, trainee_of_answers
from sbmrl.core.options import require_count, require_counts, require_positive
from sbmrl.core.parts import LearnerKind
from sbmrl.core.players import Parametrization, Params
from sbmrl.core.rollout import episode_returns
from sbmrl.errors import require
from sbmrl.learners import gradient
from sbmrl.learners.gradient import Optimizer


@dataclasses.dataclass(frozen=True)
class EvolutionOptions:
    """Evolution strategies (Salimans et al. 2017, arXiv 1703.03864) on the exact payoff: uses no gradient."""

    num_updates: int = 500
    """Generations (rounded up to whole records)."""
    population_size: int = 32
    """Candidates a generation, in antithetic pairs; an even number."""
    optimizer: Optimizer = "adam"
    """Any of optax's: how the estimated gradient becomes a step."""
    parametrization: Parametrization = "table"
    """A free row of outputs per query, or a network."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of a network's hidden layers (tanh)."""
    initial: str = USUAL
    """How a table starts: the kind of game's usual way, or by name another that it has, as uniform, random, truth."""
    learning_rate: float = 0.1
    """Step size of the optimizer."""
    standard_deviation: float = 0.5
    """Spread of the candidates around the mean, in units of the parameters (logits)."""
    num_episodes: int = 0
    """Episodes of the query-augmented game that each candidate plays to be judged; 0 judges by the exact payoff."""


class EvolutionState(NamedTuple):
    """The mean of the population, and evosax's state."""

    params: Params
    strategy_state: Any


def evolution(
    init_params: Callable[[jax.Array], Params],
    fitness: Callable[[jax.Array, Params, Outcome], jax.Array],
    steps_per_candidate: int,
    optimizer: optax.GradientTransformation,
    options: EvolutionOptions,
) -> Learner:
    """OpenAI-ES (Salimans et al. 2017, arXiv 1703.03864), evosax's: antithetic candidates, centred ranks.

    Every candidate θ + σε is judged with the response to it, so this leader needs no derivative of anything.

    Args:
        init_params: (key) -> θ.
        fitness: (key, θ, outcome) -> `[]` a payoff to be maximised, exact or of played episodes.
        steps_per_candidate: environment steps of one fitness; 1 where it is exact.
        optimizer: how the estimated gradient becomes a step.
        options: of the strategy.
    """
    from evosax.algorithms import Open_ES  # here, because it imports half a second of algorithms

    shape = jax.eval_shape(init_params, jax.random.key(0))
    algorithm = Open_ES(
        options.population_size,
        jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape),
        optimizer=optimizer,
        std_schedule=optax.constant_schedule(jnp.asarray(options.standard_deviation, float)),
    )

    def init(key: jax.Array, opponent: Outcome) -> EvolutionState:
        key_params, key_state = jax.random.split(key)
        params = init_params(key_params)
        state = algorithm.init(key_state, params, algorithm.default_params)
        return EvolutionState(params, jax.tree.map(lambda x: x.astype(x.dtype), state))  # no weak types in a carry

    def update(key: jax.Array, state: EvolutionState, opponent: Outcome) -> tuple[EvolutionState, Info]:
        key_ask, key_tell, key_play = jax.random.split(key, 3)
        asked, new = algorithm.ask(key_ask, state.strategy_state, algorithm.default_params)
        # One key for all candidates: what chance adds to one it adds to the others.
        payoffs = jax.vmap(lambda params: fitness(key_play, params, opponent))(asked)
        new, _ = algorithm.tell(key_tell, asked, -payoffs, new, algorithm.default_params)  # evosax minimises
        info = {"payoff": jnp.mean(payoffs), "best_payoff": jnp.max(payoffs)}
        return EvolutionState(algorithm.get_mean(new), new), info

    return Learner(init, update, lambda state: state.params, options.population_size * steps_per_candidate)


def build(task: Task, options: EvolutionOptions) -> Trainee:
    """Evolution strategies on a task's exact payoff, or on the returns of its played episodes."""
    player = free_player(task.game, task.role, task.seen, options.parametrization, options.hidden, options.initial)
    answers = answers_of(task, player)
    optimizer = task.optimizer or gradient.make_optimizer(options.optimizer, options.learning_rate)

    def strategy(params: Params) -> Strategy:
        return task.seat.table(answers(params, None))

    def exact(key: jax.Array, params: Params, outcome: Outcome) -> jax.Array:
        return task.payoff(outcome(strategy(params)))

    def played(key: jax.Array, params: Params, outcome: Outcome) -> jax.Array:
        def answer(key: jax.Array, observation: jax.Array) -> jax.Array:
            rows = player.logits(params)
            outputs = observation @ rows if task.seat.linear else rows[jnp.argmax(task.seen @ observation)]
            return jax.random.categorical(key, outputs) if task.seat.head == "categorical" else outputs

        return jnp.mean(episode_returns(key, task.problem(outcome), answer, options.num_episodes, task.num_steps))

    fitness, steps = (played, options.num_episodes * task.num_steps) if options.num_episodes else (exact, 1)
    return trainee_of_answers(task, evolution(player.init, fitness, steps, optimizer, options), answers)


def check(options: EvolutionOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    gradient.check(options, where)
    require_counts(options, where, "population_size")
    require_positive(options, where, "standard_deviation")
    size = options.population_size
    require(size % 2 == 0, f"{where}population_size", "must be even: candidates come in antithetic pairs", size)
    require_count(options.num_episodes, f"{where}num_episodes", least=0)


EVOLUTION = LearnerKind(
    name="evolution",
    summary="evolution strategies on the exact payoff or on played episodes, no gradient",
    options=EvolutionOptions,
    build=build,
    check=check,
    unused=gradient.unused,
    heard=lambda options: ("answers", "probabilities") if options.num_episodes else ("probabilities",),
    plays=lambda options: options.num_episodes > 0,
    preset=lambda name: EvolutionOptions(num_updates=200) if name == "fast" else EvolutionOptions(),
)
