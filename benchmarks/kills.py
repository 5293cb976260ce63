"""Kill a sweep at random moments, resume it, and hold the result against the sweep that nobody disturbed.

python benchmarks/kills.py [--count 20] [--out FILE.json]
"""

import argparse
import json
import random
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

LINE = shlex.split(
    "sweep mal_random_noise --scheme exact --grid alpha=0.2,0.8 --num-seeds 32 --chunk-size 32 --num-records 10 "
    "--leader.num-updates 400 --no-report --checkpoint-seconds 1e-9"  # a checkpoint after every record
)


def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
    """The sweep as a process of its own."""
    line = [sys.executable, "-m", "sbmrl", *LINE, *more, "--out", str(out)]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def same(left: Path, right: Path) -> bool:
    """Whether results and curves agree to the bit."""
    cell = "mal_random_noise-exact-simple_mdp_2"
    files = ("results.parquet", f"{cell}/metrics.parquet")
    return all(pl.read_parquet(left / name).equals(pl.read_parquet(right / name)) for name in files)


def main() -> None:
    """Print and write how many of the killed sweeps ended with the same bits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        start(whole).communicate()  # compiles into the cache, so that the next one's length is a sweep's
        again = Path(folder) / "again"
        began = time.perf_counter()
        start(again).communicate()
        length = time.perf_counter() - began
        assert same(whole, again)
        moments, kills = random.Random(0), []
        for number in range(options.count):
            out = Path(folder) / f"killed-{number}"
            process = start(out)
            time.sleep(moments.uniform(0.0, length))
            process.kill()
            process.communicate()
            found = sorted(path.name for path in out.rglob("step-????????")) if out.exists() else []
            chunks = len(list(out.glob("*/chunks/????????")))
            begun = (out / "plan.json").is_file()
            _, printed = start(out, *(["--resume"] if begun else [])).communicate()
            kills.append({"begun": begun, "chunks": chunks, "checkpoints": found, "same": same(whole, out)})
            print(f"{number + 1}: {kills[-1]}", printed.decode().strip().splitlines()[-1:], flush=True)
    summary = {"count": len(kills), "same": sum(kill["same"] for kill in kills), "seconds": length, "kills": kills}
    print(f"{summary['same']} of {summary['count']} resumed to the same bits")
    if options.out:
        options.out.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
