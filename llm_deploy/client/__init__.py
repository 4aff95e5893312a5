"""The inference client: asks endpoints, reads their answers, and says in one vocabulary what came or went wrong."""
