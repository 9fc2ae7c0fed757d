"""What heavy models see in an image: detections, embeddings, quality.  Each model loads on first use.

Nothing here imports torch before a model is asked for; `scorers.Scorers` is the way in.
"""
