"""What `scripts/benchmark.py` measures, one file each: its command line, the measurement, and how it is printed."""
