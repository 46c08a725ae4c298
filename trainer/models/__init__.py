"""The network: VGG16, heads, checkpoints, strategies."""
