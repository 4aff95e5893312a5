"""Request and answer shapes of the dialects, server side: pure functions over parsed JSON, no I/O."""
