"""How fast explaining is, measured beside onnxruntime's plain forward pass in one interleaved run.

``python -m tests.bench --help`` says what can be chosen; docs/performance.md says what every column means.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# Other processes begin as a user's would, whatever is imported here: with bytecode, as an installed package has it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
