"""Trust in code that a recorded configuration names: untrusted code does not run."""

from __future__ import annotations

from pathlib import Path

from ngpd_fl.config.config import Config
from ngpd_fl.config.errors import InputError
from ngpd_fl.config.import_paths import TORCHVISION, is_import_path


def require_trust(config: Config, where: Path, trust_code: bool) -> Config:
    """Return a recorded configuration as it may be used; raise ``InputError`` if it names code that is not trusted.

    The author of a folder chooses the code that its configuration names. A configuration that users give themselves,
    as a file or by keys, is their own. Files that it names are only read, and none of their formats holds code.
    Without trust nothing is downloaded into a folder that the configuration names.

    Args:
        config: the recorded configuration.
        where: its file or folder, for the error.
        trust_code: whether the user trusts it.
    """
    named = {"model.name": config.model.name, "model.loss": config.model.loss, "data.dataset": config.data.dataset}
    code = [
        f"{key} = {name}"
        for key, name in named.items()
        if is_import_path(name) and not (key == "model.name" and name.startswith(TORCHVISION))
    ]
    if code and not trust_code:
        raise InputError(
            f"{where}: its configuration names code that would be run ({', '.join(code)}); if you trust it, "
            "allow it by --trust-code (in Python trust_code=True)"
        )
    return (
        config if trust_code else config.model_copy(update={"data": config.data.model_copy(update={"download": False})})
    )
