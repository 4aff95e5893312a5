"""The same clean environment, settings and specs as the spec's own tests have."""

from __future__ import annotations

from tests.unit.spec.conftest import clean_environment, load_text, settings, spec_from

__all__ = ["clean_environment", "load_text", "settings", "spec_from"]
