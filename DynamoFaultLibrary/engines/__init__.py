"""Dynamo workers of our own, and the tiny model that they serve."""
