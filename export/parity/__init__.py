"""Check that the artefacts give the same probabilities and heat maps as the trained model."""
