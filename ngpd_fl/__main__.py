"""``python -m ngpd_fl``: the command line without an installed script."""

import sys

if not sys.flags.safe_path:  # Python has put the working folder first, whose modules must not stand in for libraries
    sys.path.append(sys.path.pop(0))

from ngpd_fl.cli import main  # noqa: E402

sys.exit(main())
