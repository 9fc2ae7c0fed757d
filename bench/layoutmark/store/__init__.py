"""The disk format, known to this package only: stored images and features, their keys, and run folders."""

from layoutmark.store.folders import home_folder, runs_folder
from layoutmark.store.keys import feature_key, image_key
from layoutmark.store.runs import RunFolder, parse_run_address
from layoutmark.store.store import Store

__all__ = ["RunFolder", "Store", "feature_key", "home_folder", "image_key", "parse_run_address", "runs_folder"]
