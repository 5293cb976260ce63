"""Do two versions of the code behave alike? Two runs of the same cells, compared as samples.

python benchmarks/two_samples.py RUN RUN

An optimisation may round differently, and chaotic training amplifies that, so seeds do not agree one by one; what they
are drawn from has to. For every cell and metric: both means, and the two-sided Kolmogorov–Smirnov test of both samples,
asymptotic because returns tie. Exits with 1 where a p-value is below 0.01 divided by the number of tests (Bonferroni).
"""

import sys

from sbmrl.benchmark.agreement import alike, compare_samples
from sbmrl.errors import InputError
from sbmrl.sweep.load import load


def main() -> int:
    """Print the comparison; 1 where the samples differ."""
    if len(sys.argv) != 3:
        print("two_samples: two directories of runs are needed", file=sys.stderr)
        return 2
    try:
        rows = compare_samples(load(sys.argv[1]), load(sys.argv[2]))
    except InputError as error:
        print(f"two_samples: {error}", file=sys.stderr)
        return 2
    for row in rows:
        print(f"{row.cell:24s} {row.metric:20s} {row.first:10.4f} {row.second:10.4f}   p = {row.probability:.3f}")
    return int(not alike(rows))


if __name__ == "__main__":
    sys.exit(main())
