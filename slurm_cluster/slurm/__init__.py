"""Helpers for Slurm: its REST API, and SSH to its machines."""

REST_PORT = 8082  # of slurmrestd, open only inside the head node's security group
