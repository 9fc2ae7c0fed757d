"""Outputs of heavy models on images: detections, embeddings, quality.  Each model is loaded on first use.

`scorers.Scorers` is the entry point.  Nothing here imports torch before a model is used.
"""
