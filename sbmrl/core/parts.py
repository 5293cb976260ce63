"""What can be registered: a learner, a scheme, a kind of game, a world, a programme: each one object with all its own.

Whoever puts a run together asks the part; nobody else knows what its options mean. Options are frozen dataclasses
(`sbmrl.core.options`); each class belongs to one part.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sbmrl.core import files
from sbmrl.core.displays import GameDisplay
from sbmrl.core.formulation import Formulation, FormulationRow
from sbmrl.core.game import Game
from sbmrl.core.learner import Task, Trainee
from sbmrl.core.options import Context, GameOptions, options_of
from sbmrl.core.oracles import Oracle
from sbmrl.core.scheme import Scheme

World = Any  # of a kind of game; has a `name`
Options = Any
Reasons = Mapping[str, str]  # field -> where it has no meaning
Answer = Literal["exact", "soft"]  # a closed form of the game by which a follower may answer


class LearnerKind(NamedTuple):
    """A way to learn, whatever the player's side and role.

    Attributes:
        name: as a user writes it.
        summary: one line for `sbmrl list`.
        options: what can be set of it.
        build: (task, options) -> the learner with its player; None for a follower that only asks, see `oracle`.
        check: (options, prefix of the names) -> None; raises `InputError` for values that are not allowed.
        check_leads: (composition) -> None; raises `InputError` for parts beside which it cannot lead.
        unused: (options) -> fields that have no meaning beside the others.
        num_updates: (options) -> updates as a leader, or as a follower before play.
        heard: (options) -> how a leader that learns so may be heard, the usual way first; nothing if it cannot lead.
        plays: (options) -> whether it learns from episodes that it plays, and not from exact payoffs.
        preset: (name of a preset) -> options for it, where the preset itself has none.
        follows: whether it can learn to follow one leader.
        pretrains: whether its player, if it is a network, can be conditioned on a description of its leader.
        predicts: whether it learns to predict what it observes, and nothing else.
        differentiates: whether it follows the derivative of its payoff, as a leader that of the response.
        no_derivative: (options) -> why its own update has no derivative in the other side, so that a leader cannot look
            through it; "" if it has one.
        oracle: (game, formulation, options) -> how it asks in the leader's own episodes, for a follower that learns
            there.
        kind: the only kind of game in which it makes sense; "" for any.
        steps: what its steps are, for the axis of a figure.
    """

    name: str
    summary: str
    options: type
    build: Callable[[Task, Options], Trainee] | None
    check: Callable[[Options, str], None] = lambda options, where: None
    check_leads: Callable[["Composition"], None] = lambda composition: None
    unused: Callable[[Options], Reasons] = lambda options: {}
    num_updates: Callable[[Options], int] = lambda options: options.num_updates
    heard: Callable[[Options], tuple[Context, ...]] = lambda options: ("probabilities",)
    plays: Callable[[Options], bool] = lambda options: False
    preset: Callable[[str], Options] | None = None
    follows: bool = False
    pretrains: bool = False
    predicts: bool = False
    differentiates: bool = False
    no_derivative: Callable[[Options], str] = lambda options: "its update has no derivative"
    oracle: Callable[[Game, Formulation, Options], Oracle] | None = None
    kind: str = ""
    steps: str = "steps of the leader"


class Choice(NamedTuple):
    """What a preset is asked for.

    Attributes:
        preset: its name.
        row: the formulation.
        kind: its kind of game.
        scheme: how the follower comes to answer; None for the preset's own.
        learner: how the leader learns; None for the preset's own.
        env: the world.
    """

    preset: str
    row: FormulationRow
    kind: "GameKind"
    scheme: "SchemeKind | None"
    learner: LearnerKind | None
    env: str

    def options(self, **values: Any) -> Any:
        """What can be set of the game, at the given values."""
        return self.kind.options_of(self.row)(**values)

    @property
    def only_predicts(self) -> bool:
        """Whether all that the follower wants is to predict the data."""
        return self.kind.only_predicts(self.row)


class Composition(NamedTuple):
    """An experiment with the parts that its options belong to.

    Attributes:
        experiment: the configuration; its traced fields may hold arrays.
        row: the formulation.
        kind: its kind of game.
        leader: how the leader learns.
        scheme: how the follower comes to answer.
        follower: how the follower learns; None where its answer is a closed form of the game.
    """

    experiment: Any
    row: FormulationRow
    kind: "GameKind"
    leader: LearnerKind
    scheme: "SchemeKind"
    follower: LearnerKind | None

    @property
    def formulation(self) -> Formulation:
        """The game that is played."""
        return self.row.formulation(self.experiment.game)

    @property
    def leader_plays(self) -> bool:
        """Whether the leader learns from episodes that it plays."""
        return self.leader.plays(self.experiment.leader)

    @property
    def only_predicts(self) -> bool:
        """Whether all that the follower wants is to predict the data."""
        return set(self.formulation.follower_wants) <= self.kind.predictions


class SchemeKind(NamedTuple):
    """A way in which the follower comes to answer its leader.

    Attributes:
        name: as a user writes it.
        summary: one line for `sbmrl list`.
        options: what can be set of it; its field `follower`, if it has one, holds a learner's options, or those of the
            closed form that `answer` names.
        build: (game, composition) -> the scheme.
        default: (choice, leader's options) -> options.
        answer: the closed form by which the follower answers; None where it learns, or where the scheme needs neither.
        check: (composition) -> None; raises `InputError` for parts that do not fit together.
        unused: (composition) -> fields that have no meaning here.
        unmoved: (composition) -> why the leader's learner cannot move the response through its derivative; "" if it
            can.
        judged_at: the leader at which the follower is judged: the one that it should meet, or the last that it met.
        cheap: whether a run is so short that a benchmark times all of it, and small sums are what it waits for.
    """

    name: str
    summary: str
    options: type
    build: Callable[[Game, Composition], Scheme]
    default: Callable[[Choice, Options], Options]
    answer: Answer | None = None
    check: Callable[[Composition], None] = lambda composition: None
    unused: Callable[[Composition], Reasons] = lambda composition: {}
    unmoved: Callable[[Composition], str] = lambda composition: ""
    judged_at: Literal["right", "last"] = "right"
    cheap: bool = False


class Preset(NamedTuple):
    """Named defaults of a kind of game: one line for `sbmrl list`, and (choice) -> experiment."""

    summary: str
    build: Callable[[Choice], Any]


class GameKind(NamedTuple):
    """A kind of game: its worlds, and how one of them becomes a game.

    Attributes:
        name: what a user calls it.
        summary: one line for `sbmrl list`.
        world: the class of its worlds, pytrees with a `name`.
        what: a world in words, "an MDP".
        worlds: () -> name or pattern of a world -> one line for `sbmrl list`.
        make_world: (text of `env`) -> world; raises `InputError` for a name or file that is none.
        make_game: (world, formulation, options) -> the game; raises `InputError` where they do not fit together.
        presets: name -> preset, the usual one first; none for one that only takes the parts' own defaults.
        env: the world where none is named.
        family: whose formulations it plays, those that name it; its own name if not said.
        options: what can be set of every game of the kind: a frozen dataclass that extends `GameOptions`.
        knows: (text of `env`) -> whether a world of the kind's own is meant; one of the names of `worlds`, if not said.
        check_world: (registered world, prefix of the names) -> None; raises `InputError` for one that cannot be played.
        world_fields: (world) -> plain data, what a run keeps; its fields, if not said.
        world_of_fields: (path of a JSON file) -> the world that lies there as plain data.
        check: (composition) -> None; raises `InputError` for parts that do not fit together.
        unused: (composition) -> fields that have no meaning here.
        starts: names of how a table may start, as in the game's own, the usual one first.
        scores: (row) -> whether its follower draws actions from a table of probabilities while its leader draws none.
        answers: closed form -> (row, whether it should have a derivative) -> its options, None if the row has none.
        predictions: names of the payoffs of a player that only predicts data.
        columns: (options) -> column of the results -> value, what the game is played with.
        display: () -> what is shown of it.
    """

    name: str
    summary: str
    world: type
    what: str
    worlds: Callable[[], Mapping[str, str]]
    make_world: Callable[[str], World]
    make_game: Callable[[World, Formulation, Options], Game]
    env: str
    family: str = ""
    options: type = GameOptions
    knows: Callable[[str], bool] | None = None
    check_world: Callable[[World, str], None] = lambda world, where: None
    world_fields: Callable[[World], dict[str, Any]] = files.world_fields
    world_of_fields: Callable[[Path], World] | None = None
    presets: Mapping[str, Preset] = {}  # read only
    check: Callable[[Composition], None] = lambda composition: None
    unused: Callable[[Composition], Reasons] = lambda composition: {}
    starts: tuple[str, ...] = ("uniform", "random", "truth")
    scores: Callable[[FormulationRow], bool] = lambda row: False
    answers: Mapping[Answer, Callable[[FormulationRow, bool], Options | None]] = {}
    predictions: frozenset[str] = frozenset()
    columns: Callable[[Options], Mapping[str, Any]] = lambda options: {}
    display: Callable[[], GameDisplay] = GameDisplay

    def plays(self, row: FormulationRow) -> bool:
        """Whether a formulation is one of the kind's family."""
        return row.family == (self.family or self.name)

    def has(self, env: str) -> bool:
        """Whether a text means a world of the kind's own; of registered ones the registry knows."""
        return env in self.worlds() if self.knows is None else self.knows(env)

    def options_of(self, row: FormulationRow) -> type:
        """The class of what can be set of a formulation in this kind of game."""
        return options_of(row.options, self.options)

    def only_predicts(self, row: FormulationRow) -> bool:
        """Whether all that a formulation's follower wants is to predict the data, by the kind's own options."""
        return set(row.follower_wants(self.options_of(row)())) <= self.predictions

    def read_world(self, path: Path) -> World:
        """The world that a run has kept as plain data in a JSON file.

        Raises:
            InputError: the file is damaged.
        """
        return files.world_of_fields(self.world, path) if self.world_of_fields is None else self.world_of_fields(path)


class WorldRow(NamedTuple):
    """A world by its name, beside those that its kind of game has of its own.

    Attributes:
        name: as a user writes it.
        summary: one line for `sbmrl list`.
        kind: the name of its kind of game.
        make: () -> the world, of the kind's class and with this name. Static fields of two that it makes must be equal:
            functions of a module, not made anew. It may be called for its shapes alone (`jax.eval_shape`).
    """

    name: str
    summary: str
    kind: str
    make: Callable[[], World]


class ProgrammeCell(NamedTuple):
    """A row of a programme, or several that are one program.

    Attributes:
        name: its directory.
        experiment: its configuration.
        static: in words, what tells it apart.
        axes: traced fields by their names on the command line, with the values that are run side by side.
    """

    name: str
    experiment: Any
    static: tuple[tuple[str, Any], ...] = ()
    axes: tuple[tuple[str, tuple[float, ...]], ...] = ()


class Programme(NamedTuple):
    """A plan with a name, and what is made of its results: `sbmrl reproduce NAME`.

    Attributes:
        name: as a user writes it.
        summary: one line for `sbmrl list`.
        num_seeds: of each cell, where none is said.
        presets: that its cells can be made with, the usual one first.
        cells: ((formulation, scheme, learner) -> experiment of the chosen preset, world or None for its own) -> cells.
        write: (what `load` read, directory) -> files with its figure and tables.
        env: the world where none is named, if it is not the presets' own.
    """

    name: str
    summary: str
    num_seeds: int
    presets: tuple[str, ...]
    cells: Callable[[Callable[..., Any], str | None], Sequence[ProgrammeCell]]
    write: Callable[[Any, Path], Sequence[Path]] | None = None
    env: str | None = None


Part = FormulationRow | LearnerKind | SchemeKind | GameKind | WorldRow | Programme
