"""What a person is shown: status, picture and checks, and the cluster state that they show."""
