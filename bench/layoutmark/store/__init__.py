"""The only room that knows the disk format: stored images and features, keys, run folders, atomic writes."""

from layoutmark.store.folders import home, runs_folder
from layoutmark.store.keys import feature_key, image_key
from layoutmark.store.runs import RunFolder, parse_address
from layoutmark.store.store import Store

__all__ = ["RunFolder", "Store", "feature_key", "home", "image_key", "parse_address", "runs_folder"]
