"""Fine-tune the last block of the backbone after the head."""
