"""What a person reads afterwards: the timeline, its picture, tables."""
