"""Tools for suite builders: read files from other sources into samples, accounting for every record."""
