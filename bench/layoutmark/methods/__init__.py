"""The name under which method adapters are imported; the adapters themselves are guests outside the package."""

from layoutmark.shelf.roots import module_paths

__path__ = module_paths("methods")
