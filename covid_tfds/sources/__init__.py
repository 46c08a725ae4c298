"""Where the images of the builder configs come from, each verified by SHA-256."""
