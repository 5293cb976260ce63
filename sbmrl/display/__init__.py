"""Statistics, figures and tables in print, which know no game. Host side; never inside jit."""
