"""Running the command in this process."""

from simulator.cli import main as cli


def servesim(capsys, *arguments) -> str:
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out
