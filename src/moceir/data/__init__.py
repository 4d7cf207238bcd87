"""Photographs and pairs for training and evaluation."""
