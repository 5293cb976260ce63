"""What a PPO update has to compute and to move, by formula: XLA's own count takes the body of a scan once.

Operations, of a layer with I inputs and O outputs, for each sample:

| | forward | backward |
|---|---|---|
| matrix products | 2·I·O | 2·I·O for the weights, 2·I·O for the inputs (not in the first layer) |
| biases | O | O (the sum over the batch) |
| tanh or ReLU, hidden layers only | O | 3·O (slope · (1 − h²)) |

and for each parameter and gradient step `_STEP` (the clip by the global norm and Adam), for each environment step
`_ADVANTAGE`. Not counted: random numbers, the environment, the heads and the loss, so all shares are lower bounds.

Bytes are the least that the arrays need: a trajectory is written once and read once, each call of a network reads its
parameters, a gradient step reads its minibatch, reads and writes the parameters and both moments, and writes and reads
the gradient. What lies between the layers stays in the cache.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from sbmrl.learners.ppo import PPOOptions

_ACTIVATION_SLOPE = 3
# The global norm g², Σ: 2; the clip g/|g|·max: 2; m ← β₁m + (1−β₁)g: 3; v ← β₂v + (1−β₂)g²: 4; both over 1 − βᵗ: 2;
# √v̂, + ε, m̂/…, ·rate: 4; θ + …: 1.
_STEP = 18
_STEP_NUMBERS = 8  # parameters and two moments read and written, the gradient written and read
_ADVANTAGE = 6  # δ = r + γV' − V: 3; Â = δ + keep·Â: 2; Â + V: 1
_FLOAT = 4  # bytes
_FLAGS = 2  # bytes: terminated, truncated

Widths = tuple[int, ...]  # of a network: observation, hidden layers, outputs


class Sizes(NamedTuple):
    """Everything the counts depend on besides the options.

    Attributes:
        actor: its widths, observation first.
        critic: the same.
        other_parameters: those in no layer, as the spread of a Gaussian.
        answer: numbers in an answer.
        info: numbers that a trajectory keeps of a step beside those of every environment.
        opponent: widths of the network that answers for the other side; empty where none does.
        num_queries: that the opponent answers in each environment step.
    """

    actor: Widths
    critic: Widths
    other_parameters: int
    answer: int
    info: int
    opponent: Widths = ()
    num_queries: int = 0

    @property
    def num_parameters(self) -> int:
        """Of the learner."""
        return parameters(self.actor) + parameters(self.critic) + self.other_parameters


class Work(NamedTuple):
    """What has to be done, for one run.

    Attributes:
        operations: floating-point operations.
        products: those of them in matrix products.
        bytes: read and written at least.
    """

    operations: int
    products: int
    bytes: int


def parameters(widths: Widths) -> int:
    """Weights and biases of a network."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def forward_products(widths: Widths) -> int:
    """Operations in matrix products of one sample's forward pass."""
    return sum(2 * inputs * outputs for inputs, outputs in pairwise(widths))


def backward_products(widths: Widths) -> int:
    """The same of its backward pass: to the weights, and behind the first layer to the inputs."""
    return 2 * forward_products(widths) - forward_products(widths[:2])


def forward(widths: Widths) -> int:
    """All operations of one sample's forward pass."""
    return forward_products(widths) + sum(widths[1:]) + sum(widths[1:-1])


def backward(widths: Widths) -> int:
    """All operations of one sample's backward pass."""
    return backward_products(widths) + sum(widths[1:]) + _ACTIVATION_SLOPE * sum(widths[1:-1])


def rollout(sizes: Sizes, options: PPOOptions) -> Work:
    """T steps in E environments: the actor answers each of them, and the opponent all its queries."""
    steps = options.num_steps * options.num_environments
    asked = sizes.num_queries * steps
    written = steps * (_FLOAT * (2 * sizes.actor[0] + sizes.answer + 1 + sizes.info) + _FLAGS)
    read = _FLOAT * options.num_steps * (parameters(sizes.actor) + parameters(sizes.opponent))
    return Work(
        steps * forward(sizes.actor) + asked * forward(sizes.opponent),
        steps * forward_products(sizes.actor) + asked * forward_products(sizes.opponent),
        written + read,
    )


def advantage(sizes: Sizes, options: PPOOptions) -> Work:
    """Values of what was seen and of what followed, log-probabilities, advantages and value targets."""
    steps = options.num_steps * options.num_environments
    read = steps * (_FLOAT * (2 * sizes.actor[0] + sizes.answer + 1) + _FLAGS) + _FLOAT * sizes.num_parameters
    return Work(
        steps * (forward(sizes.actor) + 2 * forward(sizes.critic) + _ADVANTAGE),
        steps * (forward_products(sizes.actor) + 2 * forward_products(sizes.critic)),
        read + steps * _FLOAT * 3,
    )


def update(sizes: Sizes, options: PPOOptions) -> Work:
    """Epochs of gradient steps on minibatches of B samples."""
    samples = options.num_epochs * options.num_steps * options.num_environments
    gradient_steps = samples // options.minibatch_size
    networks = (sizes.actor, sizes.critic)
    return Work(
        samples * sum(forward(own) + backward(own) for own in networks) + gradient_steps * _STEP * sizes.num_parameters,
        samples * sum(forward_products(own) + backward_products(own) for own in networks),
        _FLOAT * samples * (sizes.actor[0] + sizes.answer + 3)
        + _FLOAT * gradient_steps * _STEP_NUMBERS * sizes.num_parameters,
    )


def together(parts: Iterable[Work]) -> Work:
    """The sum."""
    return Work(*(sum(numbers) for numbers in zip(*parts, strict=True)))
