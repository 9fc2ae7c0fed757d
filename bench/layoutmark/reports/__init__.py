"""The name under which reports are imported; the reports themselves are guests outside the package."""

from layoutmark.shelf.roots import module_paths

__path__ = module_paths("reports")
