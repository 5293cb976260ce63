"""A duopoly: two firms choose how much to produce, one before the other (Cournot 1838, von Stackelberg 1934).

The price is a − (q₁ + q₂), a unit costs c, and quantities are whole numbers of units. With any quantity allowed the
leader would produce (a − c)/2 and earn (a − c)²/8, more than the (a − c)²/9 of two firms that choose at once.
"""

import jax
import jax.numpy as jnp
from flax import struct

import sbmrl
from sbmrl.core.game import Game, Payoff, Seat, greedy, sample_row, softmax_starts
from sbmrl.core.measures import ExactGame, exact_measures
from sbmrl.core.options import AnswerOptions

ROLES: tuple[str, str] = ("first", "second")
WORLDS = {"cournot": (10.0, 1.5, 1.0), "cournot_fine": (10.0, 1.5, 0.3)}  # a, c, size of a unit


class Duopoly(struct.PyTreeNode):
    """A market: `quantities` `[N]` in order from 0, `demand` a, `cost` c."""

    quantities: jax.Array
    demand: jax.Array
    cost: jax.Array
    name: str = struct.field(pytree_node=False)

    @property
    def profits(self):
        """`[N, N]` of the firm whose quantity is the row, against the other's."""
        own, other = self.quantities[:, None], self.quantities[None, :]
        return (jnp.maximum(self.demand - own - other, 0.0) - self.cost) * own


class State(struct.PyTreeNode):
    """The other firm's strategy `[1, N]`, and the decisions made so far `[]`."""

    other: jax.Array
    time: jax.Array


def _seat(world):
    """Both firms have the same: one query, one decision."""

    def step(key, state, answer):
        profit = world.profits[answer, sample_row(key, state.other[0])]
        return state.replace(time=state.time + 1), {"profit": profit}, jnp.array(True), {}

    return Seat(
        queries=jnp.ones((1, 1)),
        observe=lambda state: jnp.ones(1),
        reset=lambda key, other, play: State(other, jnp.int32(0)),
        step=step,
        table=jax.nn.softmax,
        rows=lambda strategy: strategy,
        heard=lambda answers: jax.nn.one_hot(answers, len(world.quantities)),
        num_outputs=len(world.quantities),
        head="categorical",
    )


def _make_game(world, formulation, options):
    leader, follower = formulation.leader, formulation.follower
    profits, number, seat = world.profits, len(world.quantities), _seat(world)
    other_of = {leader: follower, follower: leader}

    def profit(profile, role):
        return profile[role][0] @ profits @ profile[other_of[role]][0]

    def reply(profile):
        return greedy((profits @ profile[leader][0])[None])  # the lowest of the best quantities

    def optimum():
        committed = jnp.eye(number)[:, None]  # to each quantity
        values = jax.vmap(lambda own: profit({leader: own, follower: reply({leader: own})}, leader))(committed)
        return greedy(values[None]), jnp.max(values)

    def best():
        return {leader: optimum()[0], follower: reply({leader: optimum()[0]})}

    def heard(key, strategy):
        mixed = options.context == "probabilities"
        return strategy if mixed else jax.nn.one_hot(sample_row(key, strategy[0])[None], number)

    def prior(key):
        return jax.nn.one_hot(jax.random.randint(key, (1,), 0, number), number)

    def regret(profile):
        return profit({**profile, follower: reply(profile)}, follower) - profit(profile, follower)

    played = dict.fromkeys(ROLES, greedy)
    exact = ExactGame(
        profit,
        regret,
        played,
        prior,
        heard,
        optimum,
        uniform=lambda: profits.mean(),
        sampled_returns=lambda key, evaluated, count: jnp.full(count, profit(evaluated, leader)),  # nothing is drawn
        more=lambda evaluated: {"quantity": world.quantities @ evaluated[leader][0]},
    )
    return Game(
        world,
        horizon=1,
        seats=dict.fromkeys(ROLES, seat),
        payoffs={role: Payoff(lambda profile, role=role: profit(profile, role), (), "profit") for role in ROLES},
        priors=dict.fromkeys(ROLES, prior),
        heard=dict.fromkeys(ROLES, heard),
        describe=dict.fromkeys(ROLES, jnp.ravel),
        played=played,
        starts={role: softmax_starts(seat, prior, lambda role=role: best()[role]) for role in ROLES},
        measures=lambda formulation: exact_measures(exact, formulation),
        best_response=lambda formulation, options: lambda key, given: reply(given),
    )


def _make_world(name):
    demand, cost, unit = WORLDS[name]
    return Duopoly(jnp.arange(0.0, demand - cost, unit), jnp.float32(demand), jnp.float32(cost), name)


DUOPOLY = sbmrl.GameKind(
    name="duopoly",
    summary="two firms in one market, one of which moves first",
    world=Duopoly,
    what="a market",
    worlds=lambda: {name: f"demand {a:g}, cost {c:g}, units of {unit:g}" for name, (a, c, unit) in WORLDS.items()},
    make_world=_make_world,
    make_game=_make_game,
    env="cournot",
    answers={"exact": lambda row, differentiable: AnswerOptions()},
)
FIRST_LEADS = sbmrl.FormulationRow(
    name="duopoly",
    title="first firm leads",
    family="duopoly",
    leader="first",
    follower="second",
    leader_wants=lambda options: {"first": 1.0},
    follower_wants=lambda options: {"second": 1.0},
    summary="the first firm commits to a quantity, the second answers",
)
for part in (DUOPOLY, FIRST_LEADS):
    sbmrl.register(part)
