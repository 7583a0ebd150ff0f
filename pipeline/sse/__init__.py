"""Speech sequence embeddings: one vector for a stretch of speech of any length."""
