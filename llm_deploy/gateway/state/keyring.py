"""What an administrator does with keys, directly in the database. Gateways notice within their `write_every_s`.

Every change raises the number in `key_revision` first, whose row is locked until the change is committed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from llm_deploy.errors import ConflictError, NotFoundError
from llm_deploy.gateway.keys import NewKey, new_key
from llm_deploy.gateway.state.records import KeyRecord, Limits
from llm_deploy.gateway.state.tables import ApiKey, KeyRevision

LIMIT_NAMES = tuple(Limits.__dataclass_fields__)


def create(
    connection: Connection,
    name: str,
    *,
    scopes: frozenset[str],
    models: frozenset[str] | None,
    limits: Limits,
    now_s: float,
    expires_at_s: float | None,
) -> NewKey:
    """Make a key. Its secret is in the answer and nowhere else.

    Raises:
        ConflictError: A key of this name is in use.
    """
    made = new_key()
    row = {
        "key_id": made.key_id,
        "name": name,
        "digest": made.digest,
        "scopes": sorted(scopes),
        "models": None if models is None else sorted(models),
        "created_at_s": now_s,
        "expires_at_s": expires_at_s,
        "revision": _next_revision(connection),
    }
    try:
        connection.execute(insert(ApiKey).values(row | asdict(limits)))
    except IntegrityError:
        raise ConflictError(
            f"An API key named {name!r} is in use.", hint="Choose another name, rotate that key, or revoke it first."
        ) from None
    return made


def every_key(connection: Connection, *, after_revision: int = -1) -> list[KeyRecord]:
    """All keys that changed after this revision, revoked ones too, in the order of their last change."""
    found = select(ApiKey.__table__).where(ApiKey.revision > after_revision).order_by(ApiKey.revision)
    return [_record(row) for row in connection.execute(found).mappings()]


def find(connection: Connection, name_or_id: str) -> KeyRecord:
    """The key of this id, or the one in use of this name, or the last one revoked that had it.

    Raises:
        NotFoundError: There is none.
    """
    found = select(ApiKey.__table__).where(or_(ApiKey.key_id == name_or_id, ApiKey.name == name_or_id))
    records = [_record(row) for row in connection.execute(found).mappings()]
    if not records:
        raise NotFoundError(f"There is no API key {name_or_id!r:.200}.", hint="See: llmdeploy gateway keys list")
    return max(records, key=lambda record: (record.revoked_at_s is None, record.key_id == name_or_id, record.revision))


def revoke(connection: Connection, key: KeyRecord, now_s: float) -> None:
    """Let the key be good for nothing. Doing it again changes nothing."""
    if key.revoked_at_s is None:
        _change(connection, key.key_id, revoked_at_s=now_s)


def rotate(connection: Connection, key: KeyRecord, *, old_until_s: float) -> NewKey:
    """A new secret for the key; the one until now is good until then, one from before no more.

    Raises:
        ConflictError: The key is revoked.
    """
    _refuse_revoked(key)
    made = new_key(key.key_id)
    _change(connection, key.key_id, digest=made.digest, previous_digest=key.digest, previous_until_s=old_until_s)
    return made


def change(connection: Connection, key: KeyRecord, values: dict[str, Any]) -> None:
    """Set columns: limits, `scopes`, `models`, `expires_at_s`.

    Raises:
        ConflictError: The key is revoked.
    """
    _refuse_revoked(key)
    _change(connection, key.key_id, **values)


def _refuse_revoked(key: KeyRecord) -> None:
    if key.revoked_at_s is not None:
        raise ConflictError(f"The API key {key.key_id} ({key.name}) is revoked.", hint="Make a new one.")


def _change(connection: Connection, key_id: str, **values: Any) -> None:  # noqa: ANN401 - of any column
    revision = _next_revision(connection)
    connection.execute(update(ApiKey).where(ApiKey.key_id == key_id).values(**values, revision=revision))


def _next_revision(connection: Connection) -> int:
    connection.execute(update(KeyRevision).values(revision=KeyRevision.revision + 1))
    return int(connection.execute(select(KeyRevision.revision)).scalar_one())


def _record(row: RowMapping) -> KeyRecord:
    return KeyRecord(
        key_id=row["key_id"],
        name=row["name"],
        digest=row["digest"],
        previous_digest=row["previous_digest"],
        previous_until_s=row["previous_until_s"],
        scopes=frozenset(row["scopes"]),
        models=_set_or_none(row["models"]),
        created_at_s=row["created_at_s"],
        expires_at_s=row["expires_at_s"],
        revoked_at_s=row["revoked_at_s"],
        limits=Limits(**{name: row[name] for name in LIMIT_NAMES}),
        revision=row["revision"],
    )


def _set_or_none(names: Iterable[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
