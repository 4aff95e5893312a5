"""The local cloud: AWS's wire protocol on 127.0.0.1, with real processes as containers.

It stands beside the rest of the package: it imports nothing of it and is imported by nothing. Whoever wants it starts
`python -m llm_deploy.emulator` and speaks HTTP to it. `service` describes how a service plugs in; `data/ledger.yaml`
lists every behaviour it emulates with its source and grade.
"""

__version__ = "0.1.0"
