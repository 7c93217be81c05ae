"""What the entrants run: a file for a workload and a framework."""
