"""The inside of a worker of the peer benchmark: says that it is ready, then answers requests, one line of JSON each.

Standard library only, because it also runs in the peers' own environments, which do not have sbmrl.
"""

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

Answer = dict[str, Any]
Requests = Mapping[str, Callable[[], Answer]]


def serve(prepare: Callable[[Answer], tuple[Answer, Requests]]) -> None:
    """Answer the requests on stdin until it ends.

    Args:
        prepare: (settings, the first argument of the command) -> (first answer, request -> its function). All that is
            done only once, compilation included, is done in here.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not stand between the answers
    ready, requests = prepare(json.loads(sys.argv[1]))
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(requests[line.strip()]()), file=answers, flush=True)


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python and of the packages."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
