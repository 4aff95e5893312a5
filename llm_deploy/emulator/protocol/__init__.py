"""AWS's wire protocols, seen from the server."""
