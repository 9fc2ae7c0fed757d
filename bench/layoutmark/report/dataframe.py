"""The rows of a run as a data frame."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "method", "metric", "variant", "value", "low", "high", "worst", "n", "of", "unit", "higher_is_better", "unscored",
)  # fmt: skip
FLOAT_COLUMNS, INTEGER_COLUMNS = ("value", "low", "high", "worst"), ("n", "of")


def rows_to_dataframe(results: Mapping[str, Any]) -> pd.DataFrame:
    """One line per method and metric of `results`, the content of results.json, with the columns `COLUMNS`.

    `value`, `low`, `high` and `worst` are float64, NaN without a score; `unscored` is JSON that maps reasons to counts.

    >>> row = {"method": "base", "metric": "miou", "value": None, "n": 0, "of": 2, "unscored": {"failed": 2}}
    >>> frame = rows_to_dataframe({"rows": [row]})
    >>> frame.value.isna().item(), frame.unscored.item()
    (True, '{"failed": 2}')
    """
    import pandas as pd

    rows = [{key: row.get(key) for key in COLUMNS} for row in results["rows"]]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["unscored"] = [json.dumps(row.get("unscored") or {}, sort_keys=True) for row in results["rows"]]
    return frame.astype(dict.fromkeys(FLOAT_COLUMNS, "float64") | dict.fromkeys(INTEGER_COLUMNS, "int64"))
