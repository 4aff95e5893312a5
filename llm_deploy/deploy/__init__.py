"""The engine: what is there (inventory), what has to change (plan), make it so (apply). It knows no cloud.

    wanted resources ──┐
                       ├── plan ── Plan(+ ~ - = ±) ── apply ── Steps ── Receipt
    inventory ─────────┘            (printed as it is)

`Manager`s, one a kind, are given to it; so is the clock. There is no state file: what exists is asked of the cloud,
by chosen names and by ownership tags, so a run that was cut off anywhere is continued by running it again.
"""
