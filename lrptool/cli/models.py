"""``lrptool models``: the named models, and the user's own folder of them."""

from __future__ import annotations

import click

from lrptool.cli.lazy import LazyGroup


class Models(LazyGroup):
    """The commands around named models."""

    modules = {
        "list": "models_show",
        "info": "models_show",
        "where": "models_show",
        "fetch": "models_change",
        "verify": "models_change",
        "import": "models_change",
        "remove": "models_change",
        "add": "models_change",
    }


@click.group("models", cls=Models, short_help="List, fetch, check and add named models.")
def command() -> None:
    """List, fetch, check and add named models.

    \b
    lrptool models list
    lrptool models fetch googlenet
    lrptool models import vgg16 ~/Downloads/VGG_ILSVRC_16_layers.caffemodel

    A model that is not here is fetched when it is first used. Fetched models are kept in the folder models of
    LRPTOOL_CACHE, or of the platform's place for caches.
    """
