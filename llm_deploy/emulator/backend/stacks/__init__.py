"""CloudFormation's types for what MiniStack does not have, and what its engine does otherwise than AWS.

MiniStack parses templates, orders resources, keeps stacks, events and change sets. Here are the types of SageMaker, of
Application Auto Scaling and CloudWatch (`hosting`, `scaling`), which call the local cloud's own port as any client
does, and repairs of the engine (`engine`, `actions`). All of it runs in the backend's process.
"""
