"""Statistics, tables, figures, the page of a run, and W&B. Host side; never inside jit."""
