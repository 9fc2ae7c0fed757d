"""Generate the images of a plan, or read external ones."""
