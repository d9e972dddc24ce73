"""The engine: compile a graph with a composite, run the forward pass, walk back."""

from lrptool.engine.audit import Entry
from lrptool.engine.budget import fitting_batch, resident
from lrptool.engine.compiling import Step
from lrptool.engine.emit import emit
from lrptool.engine.forward import Forward
from lrptool.engine.program import Program, canonise
from lrptool.engine.shares import ShareStep, stabilise
from lrptool.engine.start import Targets, initial_relevance, probabilities_of, scores_of
from lrptool.kernels import is_compiled, is_kept, set_threads

__all__ = [
    "Entry",
    "Forward",
    "Program",
    "ShareStep",
    "Step",
    "Targets",
    "canonise",
    "emit",
    "fitting_batch",
    "initial_relevance",
    "is_compiled",
    "is_kept",
    "probabilities_of",
    "resident",
    "scores_of",
    "set_threads",
    "stabilise",
]
