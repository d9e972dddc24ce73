"""Named models: cards, where their files are and how they get there, what their classes are called."""

from lrptool.zoo.card import Card, File, Output, Preprocess
from lrptool.zoo.catalogue import (
    all_cards,
    broken_cards,
    find_file,
    homes,
    known_card,
    missing_files,
    models_path,
    read_label_file,
)
from lrptool.zoo.fetch import fetch
from lrptool.zoo.find import Located, locate
from lrptool.zoo.labels import Labels
from lrptool.zoo.parse import read_card, read_cards
from lrptool.zoo.watch import Watch

__all__ = [
    "Card",
    "File",
    "Labels",
    "Located",
    "Output",
    "Preprocess",
    "Watch",
    "all_cards",
    "broken_cards",
    "fetch",
    "find_file",
    "homes",
    "known_card",
    "locate",
    "missing_files",
    "models_path",
    "read_card",
    "read_cards",
    "read_label_file",
]
