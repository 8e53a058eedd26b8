"""What the tour is made of: its steps, its tokens, the server that it talks to."""
