"""The gallery of partitions: each drawn for 8 nodes on the digits, with its options."""

from __future__ import annotations

from gallery.markdown import doc_text, folded, options_table, picture_cards
from gallery.picture import svg
from ngpd_fl.cli.keys import variants
from ngpd_fl.config import Config
from ngpd_fl.report.pictures.partition import count_labels, partition_figure
from ngpd_fl.report.pictures.style import drawing

_OWN = ("given", "natural", "indices")
"""The partitions of data of one's own, which the digits do not have."""


def gallery() -> str:
    """Return a card with a picture for each partition that can be drawn, and all options to unfold."""
    cards = [(name, f"../{_picture(name)}") for name in _drawn()]
    return "\n\n".join(
        [picture_cards(cards), *(folded(name, _section(model)) for name, model in _partitions().items())]
    )


@drawing()
def pictures() -> dict[str, bytes]:
    """Return each partition's picture, as SVG, by its name in the site."""
    configs = {name: Config.model_validate({"partition": name}) for name in _drawn()}
    return {_picture(name): svg(partition_figure(config, *count_labels(config))) for name, config in configs.items()}


def _partitions() -> dict[str, type]:
    models = [model for _, model in variants("partition") if model is not None]
    return {model.model_fields["name"].default: model for model in models}


def _drawn() -> list[str]:
    return [name for name in _partitions() if name not in _OWN]


def _section(model: type) -> str:
    return f"{doc_text(model)}\n\n{options_table('partition', model)}"


def _picture(name: str) -> str:
    return f"images/partitions/{name}.svg"
