"""One connection shared by threads: reads one after the other, changes as whole transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alerts import database
from alerts.data_folder import Reserve
from alerts.errors import StoreError, StoreFull

T = TypeVar("T")


class Transactions:
    """The store's way to its database. Queries and changes are functions of the connection."""

    def __init__(self, data: Path, *, read_only: bool) -> None:
        """Raises what `database.connect` raises."""
        self._data, self._read_only = data, read_only
        self._db = database.connect(data, read_only=read_only)
        self._mutex = threading.RLock()
        self._reserve = Reserve(data)
        if not read_only:
            self._reserve.fill()

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """The query must have fetched its rows when it returns."""
        with self._mutex, database.translated(self._data):
            return query(self._db)

    def change(self, write: Callable[[sqlite3.Connection], T]) -> T:
        """All of it or nothing. On a full disk the reserve is given up and it is tried once more."""
        if self._read_only:
            raise StoreError(f"{self._data} was opened for reading only; stop the run that writes to it first")
        try:
            return self._transact(write)
        except StoreFull:
            if not self._reserve.release():
                raise
            return self._transact(write)

    def close(self) -> None:
        with self._mutex:
            self._db.close()

    def _transact(self, write: Callable[[sqlite3.Connection], T]) -> T:
        with self._mutex, database.translated(self._data):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                result = write(self._db)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            return result
