"""From stored telemetry to a registered, gated version."""
