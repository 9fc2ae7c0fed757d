"""What a run does, resolved before work starts: the plan, its jobs, reference rows, and the rule for blank images."""
