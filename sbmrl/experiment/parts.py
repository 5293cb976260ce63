"""The parts that there are: sbmrl's own, then those of installed plug-ins, registered when this module is imported."""

from sbmrl.core.parts import Part
from sbmrl.core.registry import BUILT_IN, register, registering
from sbmrl.experiment.plugins import load_entry_points
from sbmrl.games.continuous.kind import CONTINUOUS
from sbmrl.games.continuous.model_learner import ENSEMBLE, PHYSICS
from sbmrl.games.continuous.programme import CONTINUOUS_WORLDS
from sbmrl.games.linear_quadratic.kind import LINEAR_QUADRATIC
from sbmrl.games.linear_quadratic.programme import LQR
from sbmrl.games.matrix.formulations import FORMULATIONS as MATRIX_FORMULATIONS
from sbmrl.games.matrix.kind import MATRIX
from sbmrl.games.matrix.programme import ORACLES_FOLLOWERS
from sbmrl.games.matrix.q_learning import Q_LEARNING
from sbmrl.games.model_based.formulations import FORMULATIONS as MODEL_BASED_FORMULATIONS
from sbmrl.games.shaping.formulations import REWARD_SHAPING
from sbmrl.games.shaping.kind import SHAPING
from sbmrl.games.shaping.programme import HPGD
from sbmrl.games.tabular.kind import TABULAR
from sbmrl.games.tabular.omd_programme import OMD
from sbmrl.games.tabular.programme import POSTER
from sbmrl.games.tabular.projected import PROJECTED
from sbmrl.games.tabular.two_states import TWO_STATES
from sbmrl.learners.evolution import EVOLUTION
from sbmrl.learners.fit import FIT
from sbmrl.learners.gradient import GRADIENT
from sbmrl.learners.hyper_policy_gradient import HYPER_POLICY_GRADIENT
from sbmrl.learners.natural_policy_gradient import NATURAL_POLICY_GRADIENT
from sbmrl.learners.policy_gradient import POLICY_GRADIENT
from sbmrl.learners.ppo import PPO
from sbmrl.schemes.contextual import CONTEXTUAL
from sbmrl.schemes.exact import EXACT
from sbmrl.schemes.implicit import IMPLICIT
from sbmrl.schemes.inner_outer import INNER_OUTER

PARTS: tuple[Part, ...] = (
    *(PPO, POLICY_GRADIENT, NATURAL_POLICY_GRADIENT, GRADIENT, HYPER_POLICY_GRADIENT, PROJECTED, EVOLUTION, FIT),
    *(Q_LEARNING, ENSEMBLE, PHYSICS),
    *(CONTEXTUAL, INNER_OUTER, EXACT, IMPLICIT),
    *(TABULAR, LINEAR_QUADRATIC, CONTINUOUS, *MODEL_BASED_FORMULATIONS, TWO_STATES),
    *(MATRIX, *MATRIX_FORMULATIONS),
    *(SHAPING, REWARD_SHAPING),
    *(POSTER, OMD, HPGD, ORACLES_FOLLOWERS, LQR, CONTINUOUS_WORLDS),
)

with registering(BUILT_IN):
    for part in PARTS:
        register(part)

load_entry_points()
