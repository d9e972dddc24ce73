"""Rules as data, and composites: which rule for which node."""

from lrptool.rules.catalogue import CATALOGUE, Entry, Parameter
from lrptool.rules.composite import STARTS, Composite, Row, preset_names
from lrptool.rules.match import Match, Places
from lrptool.rules.rule import IMAGE_FREE, InputPart, Rule, Share, Stabiliser, Term

__all__ = [
    "CATALOGUE",
    "IMAGE_FREE",
    "STARTS",
    "Composite",
    "Entry",
    "InputPart",
    "Match",
    "Parameter",
    "Places",
    "Row",
    "Rule",
    "Share",
    "Stabiliser",
    "Term",
    "preset_names",
]
