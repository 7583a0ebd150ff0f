"""Common Voice releases: their tables, their clips, and the import of both into a corpus."""
