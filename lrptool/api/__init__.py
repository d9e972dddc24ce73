"""The library's public face: `load`, `Model`, `Explanation`. The command line goes through the same functions."""

from lrptool.api.explanation import Explanation
from lrptool.api.loading import PREPROCESS_KEYS, load
from lrptool.api.model import BATCH_SIZE, DEFAULT_COMPOSITE, Model, Prediction
from lrptool.api.record import ranked, record_of
from lrptool.api.save import Style
from lrptool.api.targets import meant, wanted

__all__ = [
    "BATCH_SIZE",
    "DEFAULT_COMPOSITE",
    "PREPROCESS_KEYS",
    "Explanation",
    "Model",
    "Prediction",
    "Style",
    "load",
    "meant",
    "ranked",
    "record_of",
    "wanted",
]
