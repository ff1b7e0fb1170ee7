"""What each claim of speed is measured with: `python -m benchmarks` lists them."""
