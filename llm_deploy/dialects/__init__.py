"""Request and response shapes of the engines. Pure: bytes and documents in, bytes and documents out."""
