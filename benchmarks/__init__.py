"""Measurements, side by side with the peers: `make bench`. Ratios count, the machine does not."""
