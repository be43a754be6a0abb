"""What `scripts/visualize.py` draws: what models do with views, and the data itself."""
