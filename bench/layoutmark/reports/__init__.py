"""The name under which reports are imported; the reports themselves are guests outside the package."""

from layoutmark.registry.plugin_paths import module_paths

__path__ = module_paths("reports")
