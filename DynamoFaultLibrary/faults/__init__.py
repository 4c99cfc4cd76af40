"""Faults: one module a kind; `injector` leads each through its life from intent to verified recovery."""
