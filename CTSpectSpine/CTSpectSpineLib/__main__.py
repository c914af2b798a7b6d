"""``python -m CTSpectSpineLib`` is ``ctspectspine``."""

import sys

from CTSpectSpineLib.command_line.main import main

if __name__ == "__main__":
    sys.exit(main())
