"""Check data from TOML and JSON files against dataclasses, with pydantic, and report problems as `LayoutmarkError`.

The dataclass is the schema: a field without a default is required, types are never converted (except integers to
floats), and an unknown key is an error unless the dataclass derives from `OpenSchema`.  Rules that types cannot
express go into ``__post_init__``, which raises `LayoutmarkError`, or `InvalidValueError` to have its table named.

pydantic is imported only when something is checked, so declaring schemas costs nothing at start-up.
"""

from layoutmark.validation.check import find_problems, type_adapter, validate
from layoutmark.validation.explain import describe_type, describe_value
from layoutmark.validation.schema import InvalidValueError, OpenSchema, Pattern, Schema, check_patterns

__all__ = [
    "InvalidValueError",
    "OpenSchema",
    "Pattern",
    "Schema",
    "check_patterns",
    "describe_type",
    "describe_value",
    "find_problems",
    "type_adapter",
    "validate",
]
