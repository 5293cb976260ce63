"""`sbmrl report`."""

from sbmrl.commands.options import Report
from sbmrl.report.page import write_report
from sbmrl.sweep import execute
from sbmrl.sweep.load import load


def report(config: Report) -> None:
    """Write the report on one or more directories, and say where it is.

    Raises:
        InputError: a directory is no run, a file is damaged, nothing is comparable, or --out is no report.
    """
    execute.prepare_devices()
    runs = [load(directory) for directory in config.directories]
    print(write_report(runs, config.out or config.directories[0] / "report", config.compare))
