"""Find or fetch the images of the builder configs, each verified by SHA-256."""
