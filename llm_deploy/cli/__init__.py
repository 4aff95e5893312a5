"""The command line. One module a command group; `main` mounts them lazily, so that start-up costs what is used."""
