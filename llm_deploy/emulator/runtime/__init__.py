"""SageMaker's runtime: invocations of what is hosted, whole or streamed."""
