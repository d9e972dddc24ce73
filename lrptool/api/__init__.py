"""The library's public face: `load`, `Model`, `Explanation`. The command line goes through the same functions."""

from lrptool.api.checking import CHECKED, Parity, Report, check, random_image
from lrptool.api.converting import Conversion, check_place, convert
from lrptool.api.explanation import Explanation
from lrptool.api.loading import PREPROCESS_KEYS, load
from lrptool.api.model import BATCH_SIZE, DEFAULT_COMPOSITE, Model
from lrptool.api.prediction import Prediction
from lrptool.api.record import ranked, record_of
from lrptool.api.save import Style
from lrptool.api.targets import meant, wanted

__all__ = [
    "BATCH_SIZE",
    "CHECKED",
    "DEFAULT_COMPOSITE",
    "PREPROCESS_KEYS",
    "Conversion",
    "Explanation",
    "Model",
    "Parity",
    "Prediction",
    "Report",
    "Style",
    "check",
    "check_place",
    "convert",
    "load",
    "meant",
    "random_image",
    "ranked",
    "record_of",
    "wanted",
]
