"""Where a deployment can go, and how one says which: `registry` is the door, each target a package or module."""
