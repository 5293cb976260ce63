"""Parts of frames: a point of the axes, and the run at the median."""

import numpy as np
import polars as pl

from sbmrl.display.frames import at_point, median_run


def test_the_median_run_is_a_run_and_the_lower_of_two():
    finite = pl.DataFrame({"seed": [0, 1, 2, 3], "exact_return": [5.0, 1.0, 3.0, 3.0]})
    assert median_run(finite)["seed"] == 2
    assert median_run(finite.head(2)) == {"seed": 1, "exact_return": 1.0}
    assert median_run(finite.head(1))["seed"] == 0


def test_a_point_is_found_though_its_values_are_rounded():
    frame = pl.DataFrame({"alpha": np.array([0.1, 0.1, 0.2], np.float32).astype(float), "seed": [0, 1, 0]})
    assert len(at_point(frame, {"alpha": 0.1})) == 2
    assert len(at_point(frame, {})) == 3
