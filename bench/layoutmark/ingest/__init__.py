"""Read foreign files into suites: boxes, masks, phrases and references, with a ledger that accounts for every record."""
