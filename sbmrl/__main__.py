"""`python -m sbmrl`."""

from sbmrl.cli import main

main()
