"""What `scripts/compare.py` does: recipes, time, measures, a table."""
