"""What the tasks do: one module for each chapter of the README."""
