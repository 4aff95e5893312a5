"""llm_deploy."""
