"""Run the command line as `python -m jit_access`."""

from jit_access.commands.main import main

main(prog_name="jit")
