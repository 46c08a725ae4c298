"""The proof that the artefacts answer as the trained model does."""
