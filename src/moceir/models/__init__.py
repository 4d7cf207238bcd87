"""The network: layers, attention, experts, routing, and the U-Net they make; knows nothing of files or training."""
