"""Metrics of reconstructed geometry, scene by scene: cameras, trajectories, point maps, depth. Functions on plain arrays."""
