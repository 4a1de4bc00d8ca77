"""What can go wrong in a way that a person can put right."""


class ClusterError(Exception):
    """An expected failure: one sentence that says what is wrong, and what to do next."""


class NetworkInUseError(ClusterError):
    """A network cannot be deleted, because something else than the wizard's own resources is in it."""
