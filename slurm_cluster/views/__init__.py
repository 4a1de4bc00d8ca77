"""What the read-only tasks show: status, checks, the diagram and the next step."""
