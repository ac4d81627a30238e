"""`python -m tekton` is the command `tekton`."""

from tekton.cli import command

command()
