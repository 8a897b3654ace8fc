"""What the trained miniature cast shows: likeness, freedom of the prompt, experts, episodes, two characters."""
