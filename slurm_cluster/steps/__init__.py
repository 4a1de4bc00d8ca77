"""What the tasks do, roughly one module for each chapter of the README."""
