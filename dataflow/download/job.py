"""A download from its beginning to its end, over as many runs as it takes."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from dataflow.download.pictures import ROW, Pictures
from dataflow.download.settings import Settings
from dataflow.download.shards import WRITERS, ShardWriter
from dataflow.errors import ConfigError, DecodeError, StateError, text_of
from dataflow.failure_log import reason_of
from dataflow.sources.columns import Records
from dataflow.sources.table import read_table
from dataflow.utils.draft import draft
from dataflow.utils.extras import need
from dataflow.utils.folders import digest

__all__ = ["Summary", "download_images"]

logger = logging.getLogger(__name__)

_NOTES = "download.json"
_LIST_IMAGE = "__image__"  # the list's own column "image", which is what the pixels are called
_BLOCK = 64  # rows between two words about the progress
_FIRST_ROWS = 1000  # that the types of the columns are taken from
_OF_FAILURES = ("reason", "error_message")
_SIZES = ("width", "height", "original_width", "original_height")
_TOLD = ("done", "shards", "images", "bytes", "reasons")  # from run to run


@dataclass
class Summary:
    """What became of the rows so far.

    Attributes:
        rows: of the list.
        done: that are in shards.
        shards: how many there are.
        images: that were written.
        bytes: of these.
        reasons: why others were not, and how many.
        seconds: that this run took.
        new: images that this run has written.
    """

    rows: int
    done: int = 0
    shards: int = 0
    images: int = 0
    bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    new: int = 0


def download_images(
    table: Any,
    out: str | os.PathLike[str],
    url: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    settings: Settings | None = None,
    threads: int = 64,
    runner: Callable[[Any], Any] | None = None,
    **options: Any,
) -> Summary:
    """Download the images of a list into shards, with a table that tells what became of each row.

    Every row comes once. A run that was ended, by Ctrl-C or kill -9, is gone on with by the next
    one with the same arguments: what is in whole shards stays, what was under way comes again::

        download_images("laion.parquet", "shards/", url="URL",
                        settings=Settings(resize="shortest", size=256, caption="TEXT"))
        ds = df.WebDataset("shards/*.tar", select=("jpg", "txt"), shuffle=True)

    ``00000.tar`` has ``KEY.jpg``, ``KEY.json``, what is known of the image, and ``KEY.txt``, its
    caption; KEY is the row's number in the list, with nine digits. ``00000.parquet`` has a line for
    each of its rows: the columns of the list, the address as ``url``, the caption as ``caption``,
    what is called as one of these as ``list_…``, and

    ===================================== =====================================================
    key                                   as above
    status                                ``success``, ``failed_to_download``,
                                          ``failed_to_resize`` (what came is no whole image)
    reason, error_message                 of a failure, such as ``dns`` or ``http_404``
    width, height                         of what was written
    original_width, original_height       of what was served, before any rotation by EXIF
    the name of a hash                    of the bytes that were served, in hexadecimal
    ===================================== =====================================================

    Args:
        table: the list; whatever `dataflow.read_table` reads.
        out: the folder, which is made. Nothing else should be in it.
        url: the column of addresses.
        columns: those that are carried along; None: all.
        settings: what the shards are like.
        threads: transfers at once, in each process.
        runner: puts a runner on the flow, such as ``lambda ds: df.PrefetchDataZMQ(ds, 4)``, which
            has to be ``ordered=True`` where `settings` are; None: threads of this process.
        **options: of `dataflow.dataset.NetworkImages`: headers, timeouts, bounds for each host.

    Returns:
        What became of the rows, those of earlier runs included.

    Raises:
        ConfigError: an argument makes no sense, or `out` has shards of another list or of other
            settings, or another run is writing there.
        MissingData: there is no such list.
        MissingExtra: pyarrow is not installed.
        OSError: the disk is full, or the like.
    """
    settings = settings or Settings()
    need("pyarrow.parquet")
    found = read_table(table, url, columns, rows="dict")
    assert isinstance(found, Records)
    rows = found.renamed({"image": _LIST_IMAGE})
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "a")  # noqa: SIM115 - closed where it is locked
    except OSError as error:
        what = f"out={os.fspath(out)!r} cannot be a folder for shards: {error.strerror}"
        raise ConfigError(what) from error
    with lock, _locked(folder, lock):
        job = _Job(folder, rows, settings)
        flow = Pictures(settings, on_error=job.failed, **options)
        flow.datapoints = rows.numbered(ROW)
        ds = flow.parallel(threads, ordered=settings.ordered)
        job.run(runner(ds) if runner is not None else ds)
    return job.summary


class _Job:
    """The rows of a list on their way into the shards of a folder.

    Args:
        folder: has them.
        rows: the list.
        settings: what the shards are like.
    """

    def __init__(self, folder: Path, rows: Records, settings: Settings) -> None:
        self.summary = Summary(len(rows))
        self._folder = folder
        self._settings = settings
        self._names = _named(rows, settings)
        self._types = _types(rows, self._names, settings)
        self._list = {"rows": len(rows), "columns": list(self._names), "ends": _ends(rows)}
        self._state: dict[str, Any] | None = None
        self._read_notes()
        for forgotten in folder.glob(".*.draft"):  # by a run that was killed
            if forgotten.is_file():
                forgotten.unlink()

    def failed(self, error: BaseException, row: Mapping[str, Any]) -> dict[str, Any]:
        """What takes the place of a row's image."""
        stage = "resize" if isinstance(error, DecodeError) else "download"
        return {
            "row": row,
            "image": None,
            "suffix": "",
            "status": f"failed_to_{stage}",
            "reason": reason_of(error),
            "error_message": text_of(error),
        }

    def run(self, ds: Any) -> None:
        """Go on to the end."""
        from tqdm import tqdm

        summary = self.summary
        if summary.done == summary.rows:
            ds.close()
            return
        begun = time.monotonic()
        progress = tqdm(
            total=summary.rows, initial=summary.done, unit="row", smoothing=0.05, disable=None
        )
        make = WRITERS[self._settings.format]
        finished: Callable[[], object] = lambda: None  # noqa: E731
        with ds, progress as bar, ThreadPoolExecutor(1, "dataflow-shards") as finisher:
            if self._state is not None:
                ds.load_state_dict(self._state)
            else:
                # So that what is there from now on is known for ours.
                self._write_notes(self._notes(None))
            for shard in _shards(ds, self._settings.shard_size):
                with ExitStack() as filling:
                    writer = filling.enter_context(make(self._folder, summary.shards, self._types))
                    for point in shard:
                        self._take(writer, point)
                        if not len(writer.rows) % _BLOCK:
                            bar.update(_BLOCK)
                            bar.set_postfix_str(self._postfix(), refresh=False)
                    bar.update(len(writer.rows) % _BLOCK)
                    summary.shards += 1
                    # The disk takes its time, in which the next shard is filled.
                    finished()
                    notes = self._notes(ds.state_dict())
                    finished = finisher.submit(self._finish, writer, notes).result
                    filling.pop_all()
            finished()
        summary.seconds = time.monotonic() - begun
        if summary.done != summary.rows:
            raise StateError(
                f"{self._folder} has {summary.done} of {summary.rows} rows, though the list is at "
                "its end: please report this"
            )

    def _take(self, writer: ShardWriter, point: Mapping[str, Any]) -> None:
        """Put a row into the shard."""
        values, settings = dict(point["row"]), self._settings
        number = values.pop(ROW)
        row: dict[str, Any] = {"key": f"{number:09d}"}
        for name, value in values.items():
            row[self._names[name]] = value
        row["status"] = point.get("status", "success")
        for name in _OF_FAILURES + _SIZES:
            row[name] = point.get(name)
        if settings.hash is not None:
            row[settings.hash] = point.get("hash")
        image = point["image"]
        caption = row.get("caption") if settings.caption is not None else None
        missing = caption is None or caption != caption  # NaN, where a column of numbers has none
        text = None if missing else str(caption)
        writer.add(row, image, point["suffix"], text)
        if image is None:
            self.summary.reasons[point["reason"]] += 1
        else:
            self.summary.images += 1
            self.summary.bytes += len(image)
            self.summary.new += 1
        self.summary.done += 1

    def _postfix(self) -> str:
        summary = self.summary
        failed = summary.done - summary.images
        text = f"{summary.bytes / 1e6:,.0f} MB"
        if failed:
            reason, _ = summary.reasons.most_common(1)[0]
            text += f", {failed:,} failed, most of them: {reason}"
        return text

    # -- from run to run ---------------------------------------------------------------------

    def _read_notes(self) -> None:
        """Go on where the run before this one has ended.

        Raises:
            ConfigError: it had another list or other settings.
        """
        path, folder = self._folder / _NOTES, self._folder
        try:
            notes = json.loads(path.read_text())
        except FileNotFoundError:
            if found := sorted(folder.glob("[0-9]*.parquet")):
                raise ConfigError(
                    f"{folder} has {found[0].name}, and no {_NOTES}, so this download has not "
                    "begun there: give an empty folder"
                ) from None
            return
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        different = self._settings.differences(notes["settings"])
        if notes["list"] != self._list:
            before, now = notes["list"], self._list
            names = [name for name in now if before.get(name) != now[name]]
            what = {"rows": "another number of rows", "columns": "other columns"}
            different.append(f"the list has {what.get(names[0], 'other rows')}")
        if different:
            raise ConfigError(
                f"{folder} has shards of a download that was another one: {'; '.join(different)}. "
                "Give the same again to go on, or an empty folder to begin anew"
            )
        told = notes["summary"]
        self._state = notes["state"]
        for name in _TOLD:
            setattr(self.summary, name, told[name])
        self.summary.reasons = Counter(told["reasons"])

    def _finish(self, writer: ShardWriter, notes: str) -> None:
        with writer:
            writer.finish()
        self._write_notes(notes)

    def _notes(self, state: dict[str, Any] | None) -> str:
        """What is done by now. What was under way comes again, if it ends now."""
        if state is not None:  # each row's failure is in its shard's table
            state = {name: value for name, value in state.items() if name != "failures"}
        summary = {name: getattr(self.summary, name) for name in _TOLD}
        notes = {
            "settings": asdict(self._settings),
            "list": self._list,
            "summary": summary,
            "state": state,
        }
        return json.dumps(notes) + "\n"

    def _write_notes(self, notes: str) -> None:
        with draft(self._folder / _NOTES) as place:
            Path(place).write_text(notes)


def _shards(ds: Any, size: int) -> Iterator[Iterator[Any]]:
    """The datapoints in parts; nothing is read before it is asked for, so that states fit."""
    points = iter(ds)
    for first in points:
        yield chain([first], islice(points, size - 1))


def _named(rows: Records, settings: Settings) -> dict[str, str]:
    """What the list's columns are called in the shards."""
    names: dict[str, str] = {}
    own = {"key", "status", "image", *_OF_FAILURES, *_SIZES, settings.hash}
    if settings.caption is not None:
        own.add("caption")
    called = ["image" if name == _LIST_IMAGE else name for name in rows.names or ()]
    if settings.caption == called[0]:
        raise ConfigError(f"caption={settings.caption!r} is the column of addresses")
    if settings.caption is not None and settings.caption not in called:
        known = ", ".join(map(repr, called))
        raise ConfigError(f"caption={settings.caption!r}: the list has {known}")
    for name, target in zip(rows.names or (), called, strict=True):
        if not names:
            target = "url"
        elif target == settings.caption:
            target = "caption"
        else:
            while target in own or target in names.values():
                target = f"list_{target}"
        names[name] = target
    return names


def _types(rows: Records, names: Mapping[str, str], settings: Settings) -> dict[str, Any]:
    """Of the columns of the shards' tables, in their order."""
    arrow = need("pyarrow")
    text, number = arrow.string(), arrow.int32()
    some = rows[:_FIRST_ROWS].take(np.arange(min(len(rows), _FIRST_ROWS)))
    types = {"key": text}
    for name, target in names.items():
        try:
            found = arrow.array([row[name] for row in some]).type
        except (arrow.ArrowInvalid, arrow.ArrowTypeError, OverflowError):
            found = text
        if not arrow.types.is_null(found):
            types[target] = found
        elif len(some) == len(rows):  # otherwise it may become anything
            types[target] = text
    types |= dict.fromkeys(("status", *_OF_FAILURES), text)
    types |= dict.fromkeys(_SIZES, number)
    return types if settings.hash is None else {**types, settings.hash: text}


def _ends(rows: Records) -> str:
    """Tells lists of the same length apart, nearly always."""
    return digest(repr((rows[0], rows[len(rows) - 1])))


@contextmanager
def _locked(folder: Path, file: Any) -> Iterator[None]:
    """While no other run writes there.

    Raises:
        ConfigError: one does.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{folder}: another download is writing there") from None
    except OSError:  # some network file systems have no locks
        logger.info("%s has no locks: let no other download write there", folder)
    yield
