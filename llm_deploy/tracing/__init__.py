"""Spans of what is asked of models, in OpenTelemetry's GenAI conventions; nothing where nobody listens."""
