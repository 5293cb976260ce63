"""The programme of simulated worlds as a plan: both leaders, both repairs, no model at all, and one thing changed."""

import dataclasses
from collections.abc import Callable, Sequence

from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import ProgrammeCell
from sbmrl.games.continuous.options import TruthOptions
from sbmrl.games.continuous.presets import ENV, minibatch_of
from sbmrl.learners.natural_policy_gradient import NaturalPolicyGradientOptions
from sbmrl.learners.ppo import PPOOptions
from sbmrl.schemes.exact import ExactOptions

CHANGED = "with"  # what tells a cell apart from the preset

Recipe = Callable[..., Experiment]  # (formulation, scheme, learner) -> experiment of the chosen preset

# Weights of the reward: larger ones than 1e-5 outweigh the loss of a fitted model on Pendulum.
_ALPHAS = {"a reward of weight 1e-6 in the model": 1 - 1e-6, "a reward of weight 1e-5 in the model": 1 - 1e-5}
_NUM_REAL_STEPS = 400_000
_REAL_ENVIRONMENTS = 20  # those of a model are up to five times as many: there they cost nothing


def cells(recipe: Recipe, env: str | None = None) -> Sequence[ProgrammeCell]:
    """PAL and MAL as the preset has them, the repairs, learning in the world, then one thing changed at a time.

    In another world than the programme's own, `env`, nothing is changed: what PAL owes to what is asked in one world.
    """
    own, pal, mal = env in (None, ENV), recipe("pal"), recipe("mal")
    steps, repeats = pal.leader.total_steps, pal.leader.num_repeats

    def with_repeats(number: int) -> Experiment:
        return pal.replace(leader__num_repeats=number, leader__total_steps=steps * number // repeats)

    paid = recipe("mal_agent_reward").replace(agent_reward="model")
    found = {
        ("pal", ""): pal,
        ("mal", ""): mal,
        ("mal_random_noise", "half of the weight"): recipe("mal_random_noise").replace(alpha=0.5),
        **{("mal_agent_reward", told): paid.replace(alpha=alpha) for told, alpha in _ALPHAS.items()},
        ("pal", "the true world as its model, natural policy gradient"): _in_the_world(pal, _natural(pal.leader)),
        ("pal", "the true world as its model, PPO"): _in_the_world(pal, _proximal(pal.leader, own)),
    }
    if own:
        found |= {
            ("pal", "3 steps of the policy"): with_repeats(3),
            ("pal", "25 steps of the policy"): with_repeats(25),
            ("pal", "one member"): pal.replace(follower__num_members=1),
            ("pal", "one episode to begin with"): pal.replace(num_initial_episodes=1),
            ("pal", "timid first actions"): pal.replace(initial_noise=0.1),
            ("pal", "1,000 transitions kept"): pal.replace(buffer_size=1000),
            ("mal", "one timid episode to begin with"): mal.replace(num_initial_episodes=1, initial_noise=0.1),
        }
    return [
        ProgrammeCell(_name(row, told), experiment, ((CHANGED, told),) if told else ())
        for (row, told), experiment in found.items()
    ]


def _name(row: str, told: str) -> str:
    return "-".join([row, *told.replace(",", "").split()])


def _in_the_world(pal: Experiment, leader: PPOOptions | NaturalPolicyGradientOptions) -> Experiment:
    """PAL whose model is right wherever its policy goes: a policy gradient in the true world, without a model."""
    options = type(pal.game)(context=pal.game.context, data="own", num_test_episodes=pal.game.num_test_episodes)
    return dataclasses.replace(pal, game=options, scheme=ExactOptions(TruthOptions()), leader=leader)


def _natural(policy: NaturalPolicyGradientOptions) -> NaturalPolicyGradientOptions:
    """Few episodes at a time."""
    return dataclasses.replace(
        policy,
        num_environments=_REAL_ENVIRONMENTS,
        num_repeats=1,
        total_steps=_NUM_REAL_STEPS,
        value_minibatch_size=minibatch_of(_REAL_ENVIRONMENTS, policy.num_steps),
    )


def _proximal(policy: NaturalPolicyGradientOptions, on_pendulum: bool) -> PPOOptions:
    """The same networks; on Pendulum the discount and step size that are usual for PPO there."""
    usual = PPOOptions(
        total_steps=_NUM_REAL_STEPS, actor_hidden=policy.actor_hidden, critic_hidden=policy.critic_hidden
    )
    return dataclasses.replace(usual, discount=0.9, learning_rate=1e-3) if on_pendulum else usual
