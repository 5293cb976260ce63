"""Continuous worlds: simulators on observations, and exact optima on a grid where the state is small."""
