"""Platform `memory`: replicas are dictionaries. The smallest platform there is; see docs/platforms.md."""
