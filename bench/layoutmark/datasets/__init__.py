"""The name under which suite builders are imported; the builders themselves are guests outside the package."""

from layoutmark.registry.plugin_paths import module_paths

__path__ = module_paths("datasets")
