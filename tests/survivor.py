"""A process that has imported everything and becomes one batch after the other, so that many can be killed quickly.

Each line of stdin is the arguments of a run as JSON; what comes back is the process that does it, and how it ended.
"""

from __future__ import annotations

import json
import os
import sys

import lrptool.batch.local
import lrptool.batch.run  # noqa: F401
from lrptool.cli import main

if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                main(json.loads(line))
            except SystemExit as stop:
                # onnxruntime looks at exit for threads of its own that did not come along.
                os._exit(int(stop.code or 0))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
