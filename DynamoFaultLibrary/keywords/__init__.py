"""What a .robot file can say, one topic a module."""
