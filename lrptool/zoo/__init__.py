"""Named models: cards, where their files are, what their classes are called."""

from lrptool.zoo.card import Card, Preprocess, read_card
from lrptool.zoo.find import Located, all_cards, find_file, locate, models_path, read_label_file
from lrptool.zoo.labels import Labels

__all__ = [
    "Card",
    "Labels",
    "Located",
    "Preprocess",
    "all_cards",
    "find_file",
    "locate",
    "models_path",
    "read_card",
    "read_label_file",
]
