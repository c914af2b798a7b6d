"""The command line under its old name, for one release: `command_line.main` has it now."""

from CTSpectSpineLib.command_line.main import main as main

if __name__ == "__main__":
    raise SystemExit(main())
