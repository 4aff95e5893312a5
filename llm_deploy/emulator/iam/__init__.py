"""Who may do what: signatures, policies, roles and the record of every decision.

The pure half knows no cloud: `signature` (SigV4), `policy`, `patterns`, `conditions` and `evaluation` (the policy
language), `identity` (records of users, roles and sessions become principals), `requirements` (what an operation needs,
from `data/authorization.yaml`). The other half joins them to a running cloud: `directory` (the account as services see
it, a little late, as at AWS), `gate` (asked before every answer), `access_log`.

The backend's child decides about the services behind it with the same evaluation, in its module `enforcement`.
"""
