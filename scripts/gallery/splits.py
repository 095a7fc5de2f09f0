"""The gallery of data splits: each drawn for 8 nodes on the digits, with its options."""

from __future__ import annotations

from gallery.markdown import doc_text, options_table
from gallery.picture import svg
from ngpd_fl.cli.keys import variants
from ngpd_fl.config import Config
from ngpd_fl.report.partition import count_labels, split_figure
from ngpd_fl.report.style import drawing

_GIVEN = "given"
"""The split that divides nothing."""


def gallery() -> str:
    """Return a section on each split."""
    return "\n\n".join(
        f"### {name} {{ #split-{name} }}\n\n{doc_text(model)}\n\n![{name}]({_picture(name)}){{ .split }}\n\n"
        f"{options_table('partition', model)}"
        for name, model in _splits().items()
    )


@drawing()
def pictures() -> dict[str, bytes]:
    """Return each split's picture, as SVG, by its name in the site."""
    configs = {name: Config.model_validate({"partition": name}) for name in _splits()}
    return {_picture(name): svg(split_figure(config, *count_labels(config))) for name, config in configs.items()}


def _splits() -> dict[str, type]:
    models = [model for _, model in variants("partition") if model is not None]
    return {name: model for model in models if (name := model.model_fields["name"].default) != _GIVEN}


def _picture(name: str) -> str:
    return f"images/splits/{name}.svg"
