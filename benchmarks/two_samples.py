"""Do two versions of the code behave alike? Two runs of the same cells, compared as samples.

python benchmarks/two_samples.py RUN RUN

An optimisation may round differently, and chaotic training amplifies that, so seeds do not agree one by one; what they
are drawn from has to. For every cell and metric: both means, and the two-sided Kolmogorov–Smirnov test of both samples,
asymptotic because returns tie. Exits with 1 where a p-value is below 0.01 divided by the number of tests (Bonferroni).
"""

import sys

import scipy

from sbmrl.errors import InputError
from sbmrl.sweep.load import LoadedRun, load

METRICS = ("exact_return", "model_return", "fit", "follower_gap_true", "follower_gap_random")
LEVEL = 0.01


def compare(first: LoadedRun, second: LoadedRun) -> list[tuple[str, str, float, float, float]]:
    """(cell, metric, mean, mean, p-value) for what both runs have."""
    found = []
    for name in first.cells:
        if name not in second.cells:
            raise InputError(f"runs: {name} is in one of them only")
        samples = [run.cells[name].results() for run in (first, second)]
        for metric in METRICS:
            if all(metric in sample.columns for sample in samples):
                ours, theirs = (sample[metric].drop_nulls().to_numpy() for sample in samples)
                found.append(
                    (
                        name,
                        metric,
                        ours.mean(),
                        theirs.mean(),
                        scipy.stats.ks_2samp(ours, theirs, method="asymp").pvalue,
                    )
                )
    return found


def main() -> int:
    """Print the comparison; 1 where the samples differ."""
    if len(sys.argv) != 3:
        print("two_samples: two directories of runs are needed", file=sys.stderr)
        return 2
    try:
        rows = compare(load(sys.argv[1]), load(sys.argv[2]))
    except InputError as error:
        print(f"two_samples: {error}", file=sys.stderr)
        return 2
    for name, metric, ours, theirs, probability in rows:
        print(f"{name:24s} {metric:20s} {ours:10.4f} {theirs:10.4f}   p = {probability:.3f}")
    return int(any(row[-1] < LEVEL / len(rows) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
