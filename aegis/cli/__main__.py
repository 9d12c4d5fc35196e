"""`python -m aegis.cli`: the same as the command `aegis`, without needing it on the PATH."""

from aegis.cli.app import main

main()
