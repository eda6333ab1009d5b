"""The place kept for prediction in an IoT platform's stream; nothing here yet."""
