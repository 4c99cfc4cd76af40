"""What is known of nodes: XIDs."""
