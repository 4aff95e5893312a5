"""The account's other services: IAM, STS, S3, Secrets Manager, SNS, SSM, KMS, ECR and CloudFormation.

They are MiniStack's, run as a child process of its own (`python -m llm_deploy.emulator.backend`) on a loopback socket
that this process opened, behind a proxy that streams bodies both ways. Why a child: its package pins one exact
botocore, and its stack handlers block the event loop they run on. See `docs/decisions/0020-local-cloud-backend.md`.
"""
