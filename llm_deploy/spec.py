"""What the user wants, as one document; nothing secret in it, nothing left to guess about its meaning."""
