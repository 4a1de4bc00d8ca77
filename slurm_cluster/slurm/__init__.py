"""Slurm: its REST API, and SSH to its machines."""
