"""Answers of any engine as answers of the route that was called. Pure: bytes in, bytes out."""
