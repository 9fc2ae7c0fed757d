"""The command `layoutmark`: parses the arguments and calls the packages that do the work."""
