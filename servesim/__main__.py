"""``python -m servesim``: the command line."""

from simulator.cli.main import entry

if __name__ == "__main__":
    entry()
