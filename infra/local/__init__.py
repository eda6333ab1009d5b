"""infra/local."""
