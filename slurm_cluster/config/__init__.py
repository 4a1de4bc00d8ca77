"""The files and settings that a user writes."""
