"""The name under which method adapters are imported; the adapters themselves are guests outside the package."""

from layoutmark.registry.plugin_paths import module_paths

__path__ = module_paths("methods")
