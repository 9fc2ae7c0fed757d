"""Namespace in which reports are imported; they are plug-ins and live outside the package."""

from layoutmark.registry.plugin_paths import plugin_module_paths

__path__ = plugin_module_paths("reports")
