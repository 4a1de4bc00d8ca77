"""Read-only views for the user: status, picture and checks, and the cluster state that they show."""
