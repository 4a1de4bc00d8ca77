"""What can go wrong in a way that a person can put right."""


class ClusterError(Exception):
    """An expected failure: one sentence that says what is wrong, and what to do next."""
