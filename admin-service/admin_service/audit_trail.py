"""Writing the audit log and proving that it is whole.

Every replica appends. A row names its position, and the unique index on it lets one row in: who comes second reads
where the chain ends now and tries again. So the chain has one writer at every position with nothing but one document's
atomicity, and no lease that could be lost. Events are known by their id: what is delivered twice is stored once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from admin_service.audit_chain import Checkpoint, CheckpointKey, Head, checkpoint_of, flaw, head_of, link
from admin_service.models import row_of
from admin_service.store import AdminStore
from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms_common import redis_keys
from fastcms_common.audit import EVENT_FIELD, AuditLog, EventType, build_event
from fastcms_common.errors import DomainError, TimedOut, Unavailable
from fastcms_common.logs import get_logger
from fastcms_common.redis_connection import redis_errors
from fastcms_common.storage import Document, Duplicate
from fastcms_common.times import now_text

# Writers that meet at one position: each round one of them gets in, so this many rounds see as many replicas off.
_ROUNDS = 64

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verification:
    """`first_bad` is the id of the first event that does not fit; where rows are gone from the end, of the last one
    that was signed for. `flaw` says in words what is wrong with it."""

    checked: int
    first_bad: str | None = None
    flaw: str | None = None

    @property
    def ok(self) -> bool:
        return self.flaw is None


class AuditTrail:
    """The chain as this process extends it."""

    def __init__(self, store: AdminStore, redis: Redis, key: CheckpointKey) -> None:
        self._store = store
        self._stream = AuditLog(redis)
        self._key = key
        self._copy = CheckpointCopy(redis)
        self._head: Head | None = None
        self._waiting: list[tuple[Document, asyncio.Future[None]]] = []
        self._draining: asyncio.Task[None] | None = None

    # -- writing --------------------------------------------------------------------------------------------------

    async def append(self, event: AuditEvent) -> None:
        """Stores an event; it is durable on return. Does nothing where an event of this id is there already.

        Raises Unavailable where it cannot be stored, ValueError for an event without id or time.
        """
        await self.append_all([event])

    async def record(self, event_type: EventType, event_action: str, **facts: Any) -> None:
        """Writes an event of this service's own; `facts` are those of `build_event`. By way of the stream where storage
        is away: what has happened has happened. Raises Unavailable where neither takes it."""
        await self.keep(build_event(event_type, event_action, **facts))

    async def keep(self, event: AuditEvent) -> None:
        """The same for an event that is built already."""
        try:
            await self.append(event)
        except (Unavailable, TimedOut):
            await self._stream.publish(event)

    async def append_all(self, events: Sequence[AuditEvent]) -> None:
        """The same for several events, in their order. Where it raises some of them may be stored."""
        loop = asyncio.get_running_loop()
        batch = [(row_of(event), loop.create_future()) for event in events]
        self._waiting += batch
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._drain())
        failures = await asyncio.gather(*(stored for _, stored in batch), return_exceptions=True)
        for failure in failures:
            if failure is not None:
                raise failure

    async def store_batch(self, batch: list[tuple[str, dict[bytes, bytes]]]) -> None:
        """Stores events as they come from the stream: the handler of its consumer group. What arrives twice, because a
        consumer died between writing and acknowledging, is there once."""
        await self.append_all([AuditEvent.FromString(fields[EVENT_FIELD.encode()]) for _, fields in batch])

    async def close(self) -> None:
        """Waits until what was given to `append` is written and signed."""
        if self._draining is not None:
            await self._draining

    async def _drain(self) -> None:
        # One task writes what all callers bring: rows of one process never compete for a position.
        while self._waiting:
            batch, self._waiting = self._waiting, []
            for row, stored in batch:
                try:
                    await self._extend(row)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's to hear
                    self._head = None
                    if not stored.done():
                        stored.set_exception(error)
                else:
                    if not stored.done():
                        stored.set_result(None)
            if self._head is not None:
                await self._keep(self._key.sign("head", self._head, now_text()))

    async def _extend(self, row: Document) -> None:
        for _ in range(_ROUNDS):
            if self._head is None:
                self._head = await self._find_head()
            linked = link(row, self._head)
            try:
                await self._store.add_event(linked)
            except Duplicate:
                # Of its id or of its position: not every server says which, so it is looked up.
                self._head = None
                if await self._store.event(row["id"]) is not None:
                    return
                continue
            self._head = head_of(linked)
            return
        raise Unavailable("The audit log is too busy.", reason="AUDIT_UNAVAILABLE")

    async def _find_head(self) -> Head:
        """Where to go on. A log that does not hold what was signed is not taken at its word: the chain goes on behind
        the signed place, so that the break stays visible to `verify` for good."""
        # The checkpoints first: what they speak of was written before them.
        signed = await self._checkpoints()
        floor = await self._floor()
        last = await self._store.last_event()
        head = head_of(last) if last is not None else floor
        for point in sorted(signed, key=lambda point: point.position):
            if not self._key.verifies(point):
                log.critical("the audit log's checkpoint was not signed with this key", position=point.position)
            elif point.position > floor.position and not await self._holds(point):
                log.critical("the audit log does not hold what was signed", position=point.position)
                head = Head(max(point.position, head.position), point.hash, point.event_id)
        return head

    async def _holds(self, point: Checkpoint) -> bool:
        row = await self._store.event_at(point.position)
        return row is not None and row["hash"] == point.hash

    # -- checkpoints ----------------------------------------------------------------------------------------------

    async def _checkpoints(self) -> list[Checkpoint]:
        stored = await self._store.checkpoint("head")
        copied = await self._copy.read()
        return [point for point in (stored, copied) if point is not None]

    async def _floor(self) -> Head:
        floor = await self._store.checkpoint("floor")
        return floor.at if floor is not None and self._key.verifies(floor) else Head()

    async def _keep(self, checkpoint: Checkpoint) -> None:
        # One that cannot be kept is made up for by the next.
        try:
            await self._store.keep_checkpoint(checkpoint)
            await self._copy.write(checkpoint)
        except (DomainError, RedisError) as error:
            log.warning("audit checkpoint not kept", error=str(error))

    async def renew_checkpoints(self) -> int:
        """Has those that were signed with a key that is good still signed with the one in force; how many."""
        renewed = 0
        for kind in ("head", "floor"):
            stored = await self._store.checkpoint(kind)
            if stored is not None and (point := self._key.renewed(stored)) is not None:
                await self._store.keep_checkpoint(point)
                renewed += 1
        copied = await self._copy.read()
        if copied is not None and (point := self._key.renewed(copied)) is not None:
            await self._copy.write(point)
            renewed += 1
        return renewed

    # -- proving --------------------------------------------------------------------------------------------------

    async def verify(self) -> Verification:
        """Goes through the whole chain and compares it with what was signed."""
        signed = await self._checkpoints()
        head = await self._floor()
        for point in signed:
            if not self._key.verifies(point):
                return Verification(0, point.event_id, "its checkpoint is not signed with the key of this installation")
        hashes = {point.position: point.hash for point in signed}
        checked = 0
        async for page in self._store.chain(head.position):
            for row in page:
                wrong = flaw(row, head)
                if wrong is None and hashes.get(row["position"], row["hash"]) != row["hash"]:
                    wrong = "it is not the event that was signed for"
                if wrong is not None:
                    return Verification(checked, row["id"], wrong)
                head = head_of(row)
                checked += 1
        for point in signed:
            if point.position > head.position:
                return Verification(checked, point.event_id, "it was signed for, and is gone from the end of the log")
        return Verification(checked)

    # -- forgetting -----------------------------------------------------------------------------------------------

    async def forget(self, before: str) -> int:
        """Removes the rows that are older than `before`, all but the last one; how many. Signs where the log begins
        from now on, so that what is left still proves whole."""
        last = await self._store.last_event()
        first_kept = await self._store.first_event_since(before) or last
        if last is None or first_kept is None:
            return 0
        gone = await self._store.event_at(first_kept["position"] - 1)
        if gone is None or gone["position"] <= (await self._floor()).position:
            return 0
        # The statement first: rows that are gone without one would be missed.
        await self._store.keep_checkpoint(self._key.sign("floor", head_of(gone), now_text()))
        return await self._store.drop_events(gone["position"])


class CheckpointCopy:
    """The newest checkpoint as Redis has it: who cuts the end off in the database is contradicted by it."""

    # KEYS: the copy. ARGV: position, checkpoint. An older one never replaces a newer.
    _WRITE = """
    if tonumber(redis.call('HGET', KEYS[1], 'position') or '-1') <= tonumber(ARGV[1]) then
        redis.call('HSET', KEYS[1], 'position', ARGV[1], 'checkpoint', ARGV[2])
    end
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._write = redis.register_script(self._WRITE)

    async def read(self) -> Checkpoint | None:
        """The copy, or None. Raises Unavailable."""
        with redis_errors():
            text = await self._redis.hget(redis_keys.AUDIT_CHECKPOINT, "checkpoint")
        try:
            return checkpoint_of(orjson.loads(text)) if text else None
        except (orjson.JSONDecodeError, AttributeError):
            return checkpoint_of({})

    async def write(self, checkpoint: Checkpoint) -> None:
        """Raises Unavailable."""
        with redis_errors():
            await self._write(
                keys=[redis_keys.AUDIT_CHECKPOINT], args=[checkpoint.position, orjson.dumps(asdict(checkpoint))]
            )
