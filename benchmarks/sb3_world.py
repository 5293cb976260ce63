"""The follower pretraining task for Stable-Baselines3: its world, the agent with the poster's settings, its judge.

The task is the pretraining of the poster's MAL row: a contextual MDP over the states, actions and rewards of
`simple_mdp_2`. Every episode draws a fresh random model (each row Dirichlet(1, 1, 1)), which the follower sees as its
context and lives in. After training, the policy is shown the *true* model and is judged without sampling: its exact
undiscounted finite-horizon return by backward induction, against the optimum of that model. The same is done on a
fixed set of random models.

Nothing of sbmrl is imported, so that the two sides share no code.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO

HORIZON = 50
NUM_STATES, NUM_ACTIONS = 3, 2
START, TERMINAL = 1, 2  # TERMINAL is the last state, so the states with a decision are range(TERMINAL)

# [state, action, next state] over the states with a decision: the rows a context lists, in the order it lists them.
TRUE_MODEL = np.array([[[0.1, 0.6, 0.3], [1.0, 0.0, 0.0]], [[0.0, 0.2, 0.8], [0.5, 0.5, 0.0]]])
REWARD = np.array([[[1.0, -0.05, 1.0], [0.75, 0.0, 0.0]], [[0.0, -0.05, 1.0], [0.5, -0.05, 0.0]]])

NUM_TEST_MODELS = 256
TEST_MODELS_SEED = 20_260  # the same test models for every training seed

NET_ARCH: dict[str, list[int]] = {"pi": [8, 8, 8, 8], "vf": []}
POSTER_SETTINGS: dict[str, Any] = {
    "policy": "MlpPolicy",
    "device": "cpu",
    "policy_kwargs": {"net_arch": NET_ARCH, "activation_fn": "Tanh"},
    "n_steps": 2048,
    "batch_size": 64,
    "n_epochs": 10,
    "learning_rate": 3e-4,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip_range": 0.2,
    "ent_coef": 0.0,
    "vf_coef": 0.5,
    "max_grad_norm": 0.5,
}  # the network is the poster's; everything else equals Stable-Baselines3's defaults, spelled out for the record


def random_models(rng: np.random.Generator, num_models: int) -> np.ndarray:
    """`[num_models, TERMINAL, NUM_ACTIONS, NUM_STATES]` models whose rows are Dirichlet(1, 1, 1)."""
    return rng.dirichlet(np.ones(NUM_STATES), size=(num_models, TERMINAL, NUM_ACTIONS))


def observations(models: np.ndarray) -> np.ndarray:
    """The observation of every state in every model, `[N, NUM_STATES, 15]`: flattened rows, then one-hot state."""
    num_models = len(models)
    context = np.repeat(models.reshape(num_models, 1, -1), NUM_STATES, axis=1)
    states = np.broadcast_to(np.eye(NUM_STATES), (num_models, NUM_STATES, NUM_STATES))
    return np.concatenate([context, states], axis=-1).astype(np.float32)


class RandomModelEnv(gym.Env[np.ndarray, np.int64]):
    """Episodes of at most `HORIZON` decisions, each in its own random model, with the true rewards and start."""

    def __init__(self) -> None:
        size = TERMINAL * NUM_ACTIONS * NUM_STATES + NUM_STATES
        self.observation_space = gym.spaces.Box(0.0, 1.0, (size,), np.float32)
        self.action_space = gym.spaces.Discrete(NUM_ACTIONS)
        self._reward: list[list[list[float]]] = REWARD.tolist()  # plain lists: faster than arrays, number by number
        self._cumulative: list[list[list[float]]] = []
        self._observations = np.empty(0)
        self._state = START
        self._num_decisions = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Draw a new model and go to the start."""
        super().reset(seed=seed, options=options)
        models = random_models(self.np_random, 1)
        self._cumulative = np.cumsum(models[0], axis=-1).tolist()
        self._observations = observations(models)[0]
        self._state = START
        self._num_decisions = 0
        return self._observations[START], {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Sample the next state from the model; the true table pays."""
        first, second, _ = self._cumulative[self._state][action]
        draw = self.np_random.random()
        next_state = 0 if draw < first else 1 if draw < second else 2
        reward = self._reward[self._state][action][next_state]
        self._state = next_state
        self._num_decisions += 1
        terminated = next_state == TERMINAL
        truncated = not terminated and self._num_decisions >= HORIZON
        return self._observations[next_state], reward, terminated, truncated, {}


def exact_returns(models: np.ndarray, policy: np.ndarray | None = None) -> np.ndarray:
    """Undiscounted `HORIZON`-step returns from the start in every model, by backward induction.

    Args:
        models: `[N, TERMINAL, NUM_ACTIONS, NUM_STATES]` probabilities.
        policy: `[N, TERMINAL, NUM_ACTIONS]` action probabilities, the same at every time; None for the optimal
            (time-dependent) policy.

    Returns:
        `[N]` returns.
    """
    expected_reward = (models * REWARD).sum(axis=-1)
    onward = models[..., :TERMINAL]  # the terminal state is worth 0
    value = np.zeros((len(models), TERMINAL))
    for _ in range(HORIZON):
        action_value = expected_reward + np.einsum("nsaz,nz->nsa", onward, value)
        value = action_value.max(axis=-1) if policy is None else (policy * action_value).sum(axis=-1)
    return value[:, START]


def greedy_actions(agent: PPO, models: np.ndarray) -> np.ndarray:
    """The deterministic action in each state with a decision of every model, `[N, TERMINAL]`."""
    inputs = observations(models)[:, :TERMINAL]
    actions, _ = agent.predict(inputs.reshape(-1, inputs.shape[-1]), deterministic=True)
    return actions.reshape(len(models), TERMINAL)


def action_probabilities(agent: PPO, models: np.ndarray) -> np.ndarray:
    """The probabilities the policy samples from, `[N, TERMINAL, NUM_ACTIONS]`."""
    inputs = observations(models)[:, :TERMINAL].reshape(len(models) * TERMINAL, -1)
    with torch.no_grad():
        distribution = agent.policy.get_distribution(torch.as_tensor(inputs)).distribution
    return distribution.probs.double().numpy().reshape(len(models), TERMINAL, NUM_ACTIONS)


def make_agent(seed: int) -> PPO:
    """An untrained follower with the poster's settings."""
    settings = POSTER_SETTINGS | {"policy_kwargs": {"net_arch": NET_ARCH, "activation_fn": torch.nn.Tanh}}
    return PPO(env=RandomModelEnv(), seed=seed, **settings)


def evaluate(agent: PPO) -> dict[str, Any]:
    """The policy's greedy actions, exact returns and regrets, at the true model and on the test models."""
    true_model = TRUE_MODEL[None]
    test_models = random_models(np.random.default_rng(TEST_MODELS_SEED), NUM_TEST_MODELS)
    one_hot = np.eye(NUM_ACTIONS)
    greedy_true = greedy_actions(agent, true_model)
    return_true = exact_returns(true_model, one_hot[greedy_true])[0]
    return_random = exact_returns(test_models, one_hot[greedy_actions(agent, test_models)])
    return {
        "greedy_actions": tuple(greedy_true[0].tolist()),
        "return_true": float(return_true),
        "return_true_stochastic": float(exact_returns(true_model, action_probabilities(agent, true_model))[0]),
        "follower_gap_true": float(exact_returns(true_model)[0] - return_true),
        "follower_gap_random": float((exact_returns(test_models) - return_random).mean()),
    }
