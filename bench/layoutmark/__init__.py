"""layoutmark: compare text-to-image methods told where things go and what they look like."""

__version__ = "0.1.0"
