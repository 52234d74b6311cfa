"""What docs/benchmarks.md reports, runnable by anyone: `python -m benchmarks.NAME`."""
