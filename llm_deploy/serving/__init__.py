"""The model server: SageMaker's container contract and the TGI, OpenAI and LMI dialects over one engine.

Used in three places: `llmdeploy serve` on a laptop, the "container" that the local cloud starts, and the program
inside an image. Importing this package loads nothing; `python -m llm_deploy.serving --help` says how it is run.
"""
