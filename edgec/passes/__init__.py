"""Whole-graph steps. Their order lives in `edgec/pipeline.py` and nowhere else."""
