"""Training with Lightning: any folder of clean photographs in, a model folder out."""
