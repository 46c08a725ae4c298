"""The network and its training: VGG16, heads, checkpoints, devices."""
