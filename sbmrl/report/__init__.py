"""Statistics, tables, figures and W&B. Host side; never inside jit."""
