"""Export and import: any number of records, a bounded number of them in memory."""

from __future__ import annotations

import codecs
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import orjson

from collections_service.bulk import Bulk, Outcome, check_pending
from collections_service.catalog import Catalog
from collections_service.csv_lines import CsvError, CsvReader, cells_of, row_text
from collections_service.decoding import decode
from collections_service.errors import item_error
from collections_service.lists import Listing, Lists
from collections_service.models import CREATED, ID, UPDATED, Collection, FieldDefinition
from collections_service.policy import Session
from collections_service.records import Records
from collections_service.rendering import to_json, view
from collections_service.store import CollectionStore
from fastcms_common.audit import AuditLog
from fastcms_common.errors import DomainError, FieldError, Invalid, Malformed
from fastcms_common.storage import NONE

Format = Literal["ndjson", "csv"]
MEDIA_TYPES: Mapping[Format, str] = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
# Records written or read in one go.
CHUNK = 200
# A line is one record, and that has an end.
MAX_LINE = 16 * 1024 * 1024
# How often an import tells how far it is. Seldom: a client may read nothing before it has sent everything.
PROGRESS_SECONDS = 1.0
# Refused lines that are told of one by one.
MAX_ERRORS = 1000


def format_of(content_type: str) -> Format:
    """The format that a Content-Type names. Malformed for any other."""
    media = content_type.partition(";")[0].strip().lower()
    if media in ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"):
        return "ndjson"
    if media in ("text/csv", "application/csv"):
        return "csv"
    raise Malformed("The content type has to be application/x-ndjson or text/csv.", reason="UNKNOWN_FORMAT")


class Transfers:
    """Records out of a collection and into one, as streams."""

    def __init__(
        self,
        catalog: Catalog,
        records: Records,
        lists: Lists,
        bulk: Bulk,
        store: CollectionStore,
        audit: AuditLog,
    ) -> None:
        self._catalog = catalog
        self._lists = lists
        self._records = records
        self._bulk = bulk
        self._store = store
        self._audit = audit

    async def export(self, collection: Collection, session: Session, form: Format, filter: str) -> AsyncIterator[bytes]:
        """The records that the caller may list and that match the filter, in the order of their ids."""
        where = await self._lists.matching(collection, session, Listing(filter=filter))
        # Before the first line: an export that was cut short was an export.
        await self._audit.record(
            "record",
            "exported",
            resource_type="collection",
            resource_id=collection.id,
            description=f"Records of '{collection.name}' were exported.",
            details={"format": form, "filter": filter},
        )
        looks = view(collection, session.caller, session.sees_all)
        columns = collection.data_fields if session.sees_all else collection.shown_fields
        if form == "csv":
            yield row_text([ID, *(column.name for column in columns), CREATED, UPDATED]).encode()
        if where == NONE:
            return
        lines: list[bytes] = []
        async for doc in self._store.scan(collection, where):
            record = looks.shown(doc)
            lines.append(to_json(record) + b"\n" if form == "ndjson" else _row(record, columns))
            if len(lines) == CHUNK:
                yield b"".join(lines)
                lines = []
        if lines:
            yield b"".join(lines)

    async def take(
        self, collection: Collection, session: Session, form: Format, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[dict[str, Any]]:
        """Creates a record of each line; a bad one is told of by its number and the rest goes on. Gives how far it is
        every now and then, and what became of all in the end."""
        self._records.check_creatable(collection, session)
        intake = _Intake(self._catalog, self._records, self._bulk, collection.id)
        reader: _Reader = _Lines(collection) if form == "ndjson" else _Rows(collection)
        text = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        told = time.monotonic()
        try:
            async for piece in pieces:
                for line in reader.feed(text.decode(piece)):
                    await intake.take(reader, line)
                if time.monotonic() - told >= PROGRESS_SECONDS:
                    told = time.monotonic()
                    yield {"line": intake.line, "created": intake.created, "failed": intake.failed}
            for line in reader.end(text.decode(b"", True)):
                await intake.take(reader, line)
        except CsvError as error:
            await intake.flush()
            intake.refuse(intake.line + 1, Malformed(str(error), reason="INVALID_LINE"))
        await intake.flush()
        # Lines that cannot be read are found before those that are written together.
        errors = sorted(intake.errors, key=lambda error: int(error["line"]))
        yield {"created": intake.created, "failed": intake.failed, "errors": errors}


class _Reader(Protocol):
    """Takes a file apart."""

    def feed(self, text: str) -> list[str]: ...

    def end(self, text: str) -> list[str]: ...

    def body(self, line: str) -> Any:
        """What a line says, as the body of a create; None for one that says nothing. Malformed or CsvError where it
        cannot be read; Invalid where nothing behind it can be either."""


@dataclass
class _Intake:
    """What has been taken in so far."""

    catalog: Catalog
    records: Records
    bulk: Bulk
    collection_id: str
    line: int = 0
    created: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[tuple[int, Any]] = field(default_factory=list)

    async def take(self, reader: _Reader, text: str) -> None:
        self.line += 1
        try:
            body = reader.body(text)
        except CsvError as error:
            self.refuse(self.line, Malformed(str(error), reason="INVALID_LINE"))
            return
        except Malformed as error:
            self.refuse(self.line, error)
            return
        if body is not None:
            self.waiting.append((self.line, body))
        if len(self.waiting) >= CHUNK:
            await self.flush()

    async def flush(self) -> None:
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        bodies = [body for _, body in waiting]

        async def write() -> list[Outcome]:
            # An import may take longer than a schema lasts: each part goes by the one that there is.
            collection, session = await self.records.open(self.collection_id, "POST", {})
            check_pending(collection, session, bodies)
            return await self.bulk.create_all(collection, session, bodies, atomic=False)

        outcomes = await self.catalog.with_schema(write)
        for (line, _), outcome in zip(waiting, outcomes, strict=True):
            if outcome.error is None:
                self.created += 1
            else:
                self.refuse(line, outcome.error)

    def refuse(self, line: int, error: DomainError) -> None:
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"line": line, **item_error(error)})


class _Lines:
    """NDJSON."""

    def __init__(self, collection: Collection) -> None:
        self._rest = ""
        self._kept_by_server = {one.name for one in collection.fields if _kept_by_server(one)}

    def feed(self, text: str) -> list[str]:
        *lines, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > MAX_LINE:
            raise CsvError(f"a line has more than {MAX_LINE} characters")
        return lines

    def end(self, text: str) -> list[str]:
        rest = self._rest + text
        return [rest] if rest else []

    def body(self, line: str) -> Any:
        if not line.strip():
            return None
        try:
            body = decode(line.removeprefix("\ufeff").encode())
        except UnicodeEncodeError:
            raise Malformed("The line is not UTF-8.", reason="INVALID_LINE") from None
        if not isinstance(body, dict):
            raise Malformed("The line must be a JSON object.", reason="INVALID_LINE")
        # What an export has besides: it is the server's to say anew.
        given = {name: value for name, value in body.items() if name not in (CREATED, UPDATED, "expand")}
        if isinstance(given.get("data"), dict):
            given["data"] = {name: value for name, value in given["data"].items() if name not in self._kept_by_server}
        return given


class _Rows:
    """CSV, the first row of which names the fields."""

    def __init__(self, collection: Collection) -> None:
        self._reader = CsvReader()
        self._fields = {one.name: one for one in collection.data_fields}
        self._header: list[str] | None = None

    def feed(self, text: str) -> list[str]:
        return self._reader.feed(text)

    def end(self, text: str) -> list[str]:
        rows = self._reader.feed(text)
        last = self._reader.rest()
        return rows if last is None else [*rows, last]

    def body(self, line: str) -> Any:
        if not line:
            return None
        if any("\udc80" <= char <= "\udcff" for char in line):
            raise Malformed("The line is not UTF-8.", reason="INVALID_LINE")
        if self._header is None:
            self._header = self._header_of(line.removeprefix("\ufeff"))
            return None
        cells = cells_of(line)
        if len(cells) != len(self._header):
            raise Malformed(
                f"The row has {len(cells)} cells and the header {len(self._header)}.", reason="INVALID_LINE"
            )
        named = dict(zip(self._header, cells, strict=True))
        # An empty cell is null also where the field has a default; where null is not allowed it says nothing.
        data = {
            name: None if cell is None else _value(self._fields[name], cell)
            for name, cell in named.items()
            if name in self._fields
            and not _kept_by_server(self._fields[name])
            and (cell is not None or not self._fields[name].required)
        }
        return {"data": data, ID: named[ID]} if named.get(ID) else {"data": data}

    def _header_of(self, line: str) -> list[str]:
        try:
            header = [cell or "" for cell in cells_of(line)]
        except CsvError as error:
            raise Invalid.field("body", f"the header cannot be read: {error}") from None
        unknown = [name for name in header if name not in {*self._fields, ID, CREATED, UPDATED}]
        if unknown:
            raise Invalid([FieldError(name[:100], "is not a field of this collection") for name in unknown])
        if len(set(header)) != len(header):
            raise Invalid.field("body", "the header names a field twice")
        return header


def _kept_by_server(one: FieldDefinition) -> bool:
    return one.type == "autodate"


def _row(record: dict[str, Any], columns: Sequence[FieldDefinition]) -> bytes:
    cells = [_cell(column, record["data"][column.name]) for column in columns]
    return row_text([record[ID], *cells, record[CREATED], record[UPDATED]]).encode()


def _cell(column: FieldDefinition, value: Any) -> str | None:
    # In a field of type json the text "1" is not the number.
    if value is None or (isinstance(value, str) and column.type != "json"):
        return value
    return orjson.dumps(value).decode()


def _value(one: FieldDefinition, cell: str) -> Any:
    """A cell as JSON has it; what cannot be read stays text, for the field's own check to refuse by name."""
    if one.many or one.type in ("number", "bool", "json", "geopoint"):
        try:
            return decode(cell.encode())
        except Malformed:
            return cell
    return cell
