"""A tiny run that several tests of simulated worlds read."""

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import pytest

from sbmrl.cli import main


class Kept(NamedTuple):
    """Where it lies, and what was printed while it ran."""

    out: Path
    printed: str


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """MAL in the corridor: two seeds, two records, nothing learned."""
    out = tmp_path_factory.mktemp("continuous") / "run"
    words = ["mal", "--env", "corridor", "--num-inner-steps", "1", "--leader.num-updates", "2", "--num-records", "2"]
    words += ["--follower.num-environments", "8", "--follower.num-steps", "50", "--follower.value-minibatch-size", "40"]
    words += ["--follower.actor-hidden", "8", "--follower.critic-hidden", "8", "--leader.hidden", "8"]
    words += ["--leader.num-epochs", "2", "--buffer-size", "500", "--num-test-episodes", "4", "--num-seeds", "2"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(["train", *words, "--no-report", "--out", str(out)])
    return Kept(out, printed.getvalue())
