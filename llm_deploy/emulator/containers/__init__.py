"""Real processes as containers: start, health check, logs, restart, death."""
