"""What runs while an image is built, by the Python of its base alone: each file is copied into the context."""
