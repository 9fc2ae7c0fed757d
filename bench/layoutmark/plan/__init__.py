"""Plans of runs, resolved before work starts: the plan, its jobs, reference rows, and the test for blank images."""
