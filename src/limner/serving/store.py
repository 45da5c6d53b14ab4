"""What must survive a restart: jobs, their events, and the pictures, in one SQLite file and two folders.

A finished picture is first written to a partial name, then given its own, and only then does one transaction make it known
and tell of it: what the tables name is whole. No string of a request becomes a file name.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import sqlalchemy
from sqlalchemy import Engine, UniqueConstraint, event
from sqlmodel import JSON, Column, Field, Session, SQLModel, col, create_engine, delete, func, select

from limner.errors import LimnerError
from limner.serving.orders import ENDS, Event, Failure, Kind, Order, State

DATABASE = "limner.sqlite"
LOCK = "limner.lock"
PREVIEWS = 600  # seconds after its end for which a job's previews are told again
UNDO = 24 * 3600  # seconds for which a deleted picture can still be had back
KEPT = 7 * 24 * 3600  # seconds that jobs are known whose pictures nobody sweeps


class Job(SQLModel, table=True):
    """An accepted order."""

    id: str = Field(primary_key=True)
    line: int = Field(index=True, unique=True)  # the order in which jobs came
    client: str = Field(index=True)
    state: State = Field(default="queued", index=True, sa_type=sqlalchemy.String)
    order: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    created: float
    started: float | None = None
    finished: float | None = None
    expires: float | None = Field(default=None, index=True)  # when it is swept, if it has ended
    attempts: int = 0  # how often its drawing was begun since it last got on
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    picture: str = ""  # file in inputs/
    mask: str = ""  # file in inputs/


class Told(SQLModel, table=True):
    """An event of a job, for those who come later."""

    __tablename__ = "event"

    job: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    kind: Kind = Field(sa_type=sqlalchemy.String)
    data: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class Picture(SQLModel, table=True):
    """A finished picture; its file is whole before this row is."""

    __table_args__ = (UniqueConstraint("job", "index"),)  # nothing is drawn twice

    id: str = Field(primary_key=True)  # cannot be guessed
    job: str = Field(index=True)
    index: int
    client: str = Field(index=True)
    verb: str
    model: str
    prompt: str
    negative: str
    seed: int = Field(sa_type=sqlalchemy.BigInteger)
    width: int
    height: int
    created: float = Field(index=True)
    path: str  # file in pictures/
    expires: float | None = None  # when it is swept; None = when somebody deletes it
    favourite: bool = False
    deleted: float | None = None  # when it was deleted; it can be had back for a day


class Store:
    """The tables and folders under one data folder. Safe to use from several threads."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.pictures = data / "pictures"
        self.inputs = data / "inputs"
        for folder in (self.pictures, self.inputs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.engine: Engine = create_engine(f"sqlite:///{data / DATABASE}", connect_args={"timeout": 30})
        event.listen(self.engine, "connect", _prepare)
        self._writing = threading.Lock()  # SQLite has one writer at a time; waiting here is fairer than its own
        self._lock: IO[bytes] | None = None
        SQLModel.metadata.create_all(self.engine)

    def claim(self) -> None:
        """Be the only process that draws for this folder, until it closes or ends.

        Raises: LimnerError when another one does: it would draw the same jobs.
        """
        if self._lock is None:
            self._lock = _locked(self.data / LOCK)

    def close(self) -> None:
        """Let go of the files."""
        self.engine.dispose()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is committed when the block ends well, else undone."""
        with self._writing, Session(self.engine, expire_on_commit=False) as session:
            yield session
            session.commit()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A look at the tables."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    def add(self, job: str, order: Order, *, client: str, picture: bytes | None, mask: bytes | None) -> Job:
        """Accept an order: once this returns it is on the disk. Raises: LimnerError when the disk takes nothing more."""
        row = Job(id=job, line=0, client=client, order=order.model_dump(mode="json"), created=time.time())
        try:
            row.picture, row.mask = self._kept(picture), self._kept(mask)
            with self.writing() as session:
                row.line = (session.exec(select(func.max(Job.line))).one() or 0) + 1
                session.add(row)
                _tell(session, job, "queued", {})
        except (OSError, sqlalchemy.exc.OperationalError) as error:
            why = error.strerror if isinstance(error, OSError) else error.orig
            raise LimnerError(f"queue: the server's disk does not take the order ({why}); make room and try again") from None
        return row

    def job(self, job: str) -> Job | None:
        """The row of a job."""
        with self.reading() as session:
            return session.get(Job, job)

    def jobs(self, *, client: str | None = None, states: Sequence[State] = (), limit: int | None = None) -> list[Job]:
        """Jobs, the newest first."""
        asked = select(Job).order_by(col(Job.line).desc()).limit(limit)
        if client is not None:
            asked = asked.where(Job.client == client)
        if states:
            asked = asked.where(col(Job.state).in_(states))
        with self.reading() as session:
            return list(session.exec(asked))

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        with self.reading() as session:
            rows = session.exec(select(Job.state, func.count()).group_by(Job.state)).all()
        return dict(rows)

    def unfinished(self) -> list[Job]:
        """Jobs that are neither done nor failed nor cancelled, the oldest first."""
        return self.jobs(states=("queued", "running"))[::-1]

    def drawn(self, job: str) -> list[Picture]:
        """The finished pictures of a job, by index."""
        with self.reading() as session:
            return list(session.exec(select(Picture).where(Picture.job == job).order_by(col(Picture.index))))

    def have(self) -> dict[str, set[int]]:
        """Which pictures of unfinished jobs are there."""
        asked = select(Picture.job, Picture.index).join(Job, col(Job.id) == col(Picture.job)).where(col(Job.state).not_in(ENDS))
        found: dict[str, set[int]] = {}
        with self.reading() as session:
            for job, index in session.exec(asked):
                found.setdefault(job, set()).add(index)
        return found

    def drawn_of(self, jobs: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The ids of the finished pictures of some jobs, by index."""
        asked = select(Picture.job, Picture.id).where(col(Picture.job).in_(jobs)).order_by(col(Picture.index))
        found: dict[str, tuple[str, ...]] = {}
        with self.reading() as session:
            for job, picture in session.exec(asked):
                found[job] = (*found.get(job, ()), picture)
        return found

    def events(self, job: str, after: int = 0) -> list[Event]:
        """What happened to a job after the event of this number."""
        asked = select(Told).where(Told.job == job, Told.number > after).order_by(col(Told.number))
        with self.reading() as session:
            return [Event(row.number, row.kind, row.data) for row in session.exec(asked)]

    def last_event(self, job: str) -> int:
        """The number of the last event of a job; 0 when there is none."""
        with self.reading() as session:
            return session.exec(select(func.max(Told.number)).where(Told.job == job)).one() or 0

    def answers(self) -> bool:
        """Whether the database can be read."""
        try:
            with self.reading() as session:
                session.exec(select(Job.id).limit(1)).first()
        except sqlalchemy.exc.SQLAlchemyError:
            return False
        return True

    def tell(self, job: str, kind: Kind, data: Mapping[str, Any]) -> int:
        """Note an event of a job; its number."""
        with self.writing() as session:
            return _tell(session, job, kind, data)

    def begin(self, jobs: Sequence[str]) -> None:
        """Note that the drawing of some jobs begins, those that had begun before excepted."""
        with self.writing() as session:
            for job in jobs:
                row = session.get(Job, job)
                if row is not None and row.state == "queued":
                    row.state, row.attempts = "running", row.attempts + 1
                    row.started = row.started or time.time()
                    session.add(row)
                    _tell(session, job, "started", {})

    def again(self, job: str, *, forgiven: bool = False) -> None:
        """Put a job that was being drawn back into the queue; `forgiven` when that was not its fault."""
        with self.writing() as session:
            row = session.get(Job, job)
            if row is not None and row.state == "running":
                row.state = "queued"
                row.attempts -= int(forgiven)
                session.add(row)
                _tell(session, job, "queued", {"again": True})

    def finish(self, job: str, state: State, failure: Failure | None = None) -> bool:
        """Note the end of a job; False when it had ended before."""
        with self.writing() as session:
            return self._finish(session, job, state, failure)

    def put(self, picture: Picture, data: bytes) -> bool:
        """Keep a finished picture, and end its job when it is the last; False when the job does not wait for it any more.

        The file is whole before a row names it; a row and its event are one transaction.
        """
        picture.path = f"{picture.id}.png"
        target = self.pictures / picture.path
        _write(target, data)
        with self.writing() as session:
            row = session.get(Job, picture.job)
            have = session.exec(select(Picture.index).where(Picture.job == picture.job)).all()
            wanted = row is not None and row.state not in ENDS and picture.index not in have
            if row is not None and wanted:
                row.attempts = 0
                session.add_all([picture, row])
                facts = {"index": picture.index, "id": picture.id, "seed": picture.seed}
                _tell(session, row.id, "picture", {**facts, "width": picture.width, "height": picture.height})
                if len(have) + 1 == row.order["n"]:
                    self._finish(session, row.id, "done", None)
        if not wanted:
            target.unlink(missing_ok=True)
        return wanted

    def picture(self, picture: str) -> Path | None:
        """The file of a finished picture that is neither deleted nor swept."""
        with self.reading() as session:
            row = session.get(Picture, picture)
        if row is None or row.deleted is not None or (row.expires is not None and row.expires < time.time()):
            return None
        path = self.pictures / row.path
        return path if path.is_file() else None

    def input(self, name: str) -> bytes:
        """An uploaded picture of a job. Raises: OSError when it is not there any more."""
        return (self.inputs / name).read_bytes()

    def sweep(self, now: float | None = None) -> int:
        """Remove what nobody may ask for any more; how many pictures went. Favourites stay."""
        now = time.time() if now is None else now
        old = (col(Picture.expires) < now) & (col(Picture.favourite).is_(False))
        gone = (col(Picture.deleted) < now - UNDO) | old
        with self.writing() as session:
            pictures = session.exec(select(Picture).where(gone)).all()
            for picture in pictures:
                session.delete(picture)
            old_jobs = select(Job.id).where(col(Job.expires) < now)
            session.exec(delete(Told).where(col(Told.job).in_(old_jobs)))
            session.exec(delete(Job).where(col(Job.expires) < now))
            seen = select(Job.id).where(col(Job.finished) < now - PREVIEWS)
            session.exec(delete(Told).where(col(Told.kind) == "preview", col(Told.job).in_(seen)))
        for picture in pictures:
            (self.pictures / picture.path).unlink(missing_ok=True)
        return len(pictures)

    def sweep_leftovers(self) -> int:
        """Remove files that no row names: what a killed server left behind. Only while nothing is drawn or accepted."""
        with self.reading() as session:
            named = set(session.exec(select(Picture.path)))
            rows = session.exec(select(Job.picture, Job.mask).where(col(Job.state).not_in(ENDS))).all()
        wanted = {name for row in rows for name in row}
        left = [file for file in self.pictures.iterdir() if file.name not in named]
        left += [file for file in self.inputs.iterdir() if file.name not in wanted]
        for file in left:
            file.unlink(missing_ok=True)
        return len(left)

    def _kept(self, data: bytes | None) -> str:
        if data is None:
            return ""
        name = secrets.token_urlsafe(24)
        _write(self.inputs / name, data)
        return name

    def _finish(self, session: Session, job: str, state: State, failure: Failure | None) -> bool:
        row = session.get(Job, job)
        if row is None or row.state in ENDS:
            return False
        row.state, row.finished = state, time.time()
        row.expires = row.finished + (row.order["keep"] or KEPT)
        row.error = None if failure is None else failure.model_dump()
        session.add(row)
        pictures = session.exec(select(Picture.id).where(Picture.job == job).order_by(col(Picture.index))).all()
        kind: Kind = "done" if state == "done" else "failed" if state == "failed" else "cancelled"
        _tell(session, job, kind, row.error or {"pictures": list(pictures)})
        for name in (row.picture, row.mask):
            if name:
                (self.inputs / name).unlink(missing_ok=True)
        return True


def folded(text: str) -> str:
    """A text as searches compare it: whatever its case and its way of writing accents."""
    return unicodedata.normalize("NFC", text).casefold()


def new_id() -> str:
    """An id that cannot be guessed and is a file name everywhere."""
    return secrets.token_hex(16)


def _locked(path: Path) -> IO[bytes]:
    file = path.open("ab")
    try:
        import fcntl  # not on Windows, where two servers on one folder are not noticed

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return file
    except OSError:
        file.close()
        raise LimnerError(f"{path.parent}: another server draws for this folder; stop it, or give another --data") from None
    return file


def _tell(session: Session, job: str, kind: Kind, data: Mapping[str, Any]) -> int:
    number = (session.exec(select(func.max(Told.number)).where(Told.job == job)).one() or 0) + 1
    session.add(Told(job=job, number=number, kind=kind, data=dict(data)))
    return number


def _write(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    partial = path.with_name(f"{path.name}.part")
    with partial.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    with contextlib.suppress(OSError):  # not everywhere can a folder be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name too survives a power cut
        finally:
            os.close(folder)


def _prepare(connection: Any, _: object) -> None:
    """Readers do not wait for the writer (WAL), and what is committed survives a power cut (FULL)."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    connection.create_function("folded", 1, folded, deterministic=True)  # SQLite's own knows the case of ASCII alone
