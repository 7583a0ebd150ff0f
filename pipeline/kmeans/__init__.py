"""Discrete speech units: features, k-means, labels, in the files of fairseq's simple_kmeans."""
