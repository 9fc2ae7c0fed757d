"""Generate the images of a plan, or read images that were made elsewhere."""
