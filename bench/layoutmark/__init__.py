"""layoutmark: benchmark text-to-image methods that control the layout and the look of objects."""

__version__ = "0.1.0"
