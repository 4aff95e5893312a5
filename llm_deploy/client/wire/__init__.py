"""What is said on the wire: signatures, HTTP/1.1, event streams. Pure: bytes in, bytes out."""
