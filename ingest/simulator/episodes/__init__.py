"""What can happen in a scene, one family of acts per file."""
