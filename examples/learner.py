"""The cross-entropy method: keep the best of many candidates, and draw the next around them (Rubinstein 1999)."""

import dataclasses

import jax
import jax.numpy as jnp

import sbmrl
from sbmrl.core.free_players import free_player
from sbmrl.core.learner import Learner, answers_of, trainee_of_answers
from sbmrl.core.options import require_counts, require_positive
from sbmrl.errors import require


@dataclasses.dataclass(frozen=True)
class CrossEntropyOptions:
    """The cross-entropy method on the exact payoff."""

    num_updates: int = 100
    """Generations (rounded up to whole records)."""
    population_size: int = 32
    """Candidates a generation."""
    num_elite: int = 8
    """The best of them, around which the next generation is drawn."""
    standard_deviation: float = 1.0
    """Spread of the first generation, in units of logits."""


def _build(task, options):
    player = free_player(task.game, task.role, task.seen, "table", (), "uniform")
    answers = answers_of(task, player)

    def payoff(logits, opponent):
        return task.payoff(opponent(task.seat.table(answers({"logits": logits}, None))))

    def init(key, opponent):
        mean = player.init(key)["logits"]
        return mean, jnp.full_like(mean, options.standard_deviation)

    def update(key, state, opponent):
        mean, spread = state
        drawn = mean + spread * jax.random.normal(key, (options.population_size, *mean.shape))
        payoffs = jax.vmap(lambda logits: payoff(logits, opponent))(drawn)
        elite = drawn[jnp.argsort(-payoffs)[: options.num_elite]]
        return (elite.mean(0), elite.std(0) + 0.01), {"payoff": payoffs.mean()}

    learner = Learner(init, update, lambda state: {"logits": state[0]}, options.population_size)
    return trainee_of_answers(task, learner, answers)


def _check(options, where):
    require_counts(options, where, "num_updates", "population_size", "num_elite")
    require_positive(options, where, "standard_deviation")
    most = options.population_size
    elite, allowed = options.num_elite, f"must be at most population_size ({most})"
    require(elite <= most, f"{where}num_elite", allowed, elite)


SUMMARY = "the cross-entropy method on the exact payoff, no gradient"
sbmrl.register(sbmrl.LearnerKind("cross_entropy", SUMMARY, CrossEntropyOptions, _build, _check))
