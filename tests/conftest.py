"""Configuration of all tests."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

# A shell ignores Ctrl-C in what it starts in the background, and nohup SIGHUP; so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``gpu``, with the reason, where there is no CUDA device."""
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device; torch.cuda.is_available() is False"))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation's site, built as `make docs` does; a warning is an error."""
    pytest.importorskip("zensical")
    folder = tmp_path_factory.mktemp("site") / "site"
    words = [sys.executable, "scripts/build_site.py", str(folder)]
    built = subprocess.run(words, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return folder
