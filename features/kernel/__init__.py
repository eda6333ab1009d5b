"""features/kernel."""
