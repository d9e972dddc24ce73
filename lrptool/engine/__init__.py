"""The engine: compile a graph with a composite, run the forward pass, walk back."""

from lrptool.engine.audit import Entry
from lrptool.engine.budget import available, fitting, resident
from lrptool.engine.compiling import Step
from lrptool.engine.conservation import TOLERANCE, Balance, balance, without_biases
from lrptool.engine.emit import emit
from lrptool.engine.export import export
from lrptool.engine.forward import Forward
from lrptool.engine.outside import run_outside
from lrptool.engine.parity import allowed, difference, rewritten
from lrptool.engine.program import Program, canonise
from lrptool.engine.shares import ShareStep, stabilise
from lrptool.engine.start import Targets, initial_relevance, probabilities_of, scores_of
from lrptool.engine.unread import reads_all
from lrptool.kernels import give_back, is_compiled, is_kept, set_threads

__all__ = [
    "TOLERANCE",
    "Balance",
    "Entry",
    "Forward",
    "Program",
    "ShareStep",
    "Step",
    "Targets",
    "allowed",
    "available",
    "balance",
    "canonise",
    "difference",
    "emit",
    "export",
    "fitting",
    "give_back",
    "initial_relevance",
    "is_compiled",
    "is_kept",
    "probabilities_of",
    "reads_all",
    "resident",
    "rewritten",
    "run_outside",
    "scores_of",
    "set_threads",
    "stabilise",
    "without_biases",
]
