"""Load tests: a pace, a run, what was measured, a report."""
