"""Data that needs no download: drawn people, real clothes, and batches of either."""
