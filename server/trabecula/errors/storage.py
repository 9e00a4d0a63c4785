"""Faults of the database, the content store and backups."""

from __future__ import annotations

from trabecula.errors.base import InputError, TrabeculaError


class DatabaseError(TrabeculaError):
    """The database cannot be used."""

    code = "database-unusable"
    remedy = "`trabecula db check` says more; docs/durable-work.md shows how to set a database up."


class DatabaseUnavailable(DatabaseError):
    """The database does not answer now."""

    code = "database-unavailable"
    remedy = "Try again; nothing that was accepted is lost."


class DatabaseStartFailed(DatabaseError):
    """The PostgreSQL that comes with the program cannot be started."""

    code = "database-start-failed"
    remedy = "See its log under the state folder, or name another PostgreSQL by TRABECULA_DATABASE_URL."


class DatabaseTooOld(DatabaseError):
    """The PostgreSQL server is too old."""

    code = "database-too-old"
    remedy = "Use PostgreSQL 14 or newer."


class SchemaOutdated(DatabaseError):
    """The database's tables are older than the program."""

    code = "schema-outdated"
    remedy = "Run `trabecula db upgrade` first."


class DatabaseNotEmpty(DatabaseError):
    """The database holds something already."""

    code = "database-not-empty"
    remedy = "Restore into an empty database, or say `--replace` to give up what is there."


class DatabaseInUse(DatabaseError):
    """The service works on the database."""

    code = "database-in-use"
    remedy = "Stop every process of the service first."


class DatabaseToolFailed(DatabaseError):
    """A program of PostgreSQL failed."""

    code = "database-tool-failed"
    remedy = "The detail is what it said; docs/durable-work.md names the programs that are needed."


class BackupExists(TrabeculaError):
    """There is something at the backup's place already."""

    code = "backup-exists"
    remedy = "Name a file or folder that does not exist."


class BackupDamaged(InputError):
    """The backup cannot be read, or is not what its manifest says."""

    code = "backup-damaged"
    remedy = "Use another backup; a backup without a manifest was cut short."


class ContentUnavailable(TrabeculaError):
    """The content store does not answer now."""

    code = "content-unavailable"
    remedy = "Try again; nothing that was accepted is lost."


class ContentMissing(TrabeculaError):
    """Bytes that should be in the content store are not there."""

    code = "content-missing"
    remedy = "Run `trabecula db check`, and restore the content store from the backup."


class ContentDamaged(TrabeculaError):
    """Bytes in the content store have another SHA-256 than they were kept under."""

    code = "content-damaged"
    remedy = "Run `trabecula db check --deep`, and restore the content store from the backup."
