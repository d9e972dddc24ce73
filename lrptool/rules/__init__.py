"""Rules as data, and composites: which rule for which node."""

from lrptool.rules.catalogue import CATALOGUE, Entry, Parameter
from lrptool.rules.composite import STARTS, Composite, Row, preset_names
from lrptool.rules.match import Match, Places
from lrptool.rules.rule import InputPart, Rule, Share, Stabiliser, Term

__all__ = [
    "CATALOGUE",
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
