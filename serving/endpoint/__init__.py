"""The place kept for prediction on the device itself; nothing here yet."""
