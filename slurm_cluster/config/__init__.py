"""What a person's files and settings say."""
