"""Which stage holds a run back, and what one more thread or process would bring.

The model is that of operational analysis [1]_. A run is a set of *stations*, each of which can do
so much at a time:

- the consumer's thread, one: the user's loop, what a source and stages do there, and receiving;
- the threads of a runner's workers, with the stages that share them, and sending;
- the transfers of each stage that has many in flight;
- the network between this machine and workers on others: nobody sees it at work, so it is taken to
  be as busy as the consumer waits while those workers wait, too;
- the cores of the machine, as many as there are: all processor time, wherever it is spent.

With X datapoints/s, and D seconds that a datapoint demands of a station of m units, its
utilisation is U = X·D / m (the utilisation law), and no more than m / D datapoints/s can pass it.
The station with the largest U holds the run back, and in it, the part with the largest D. Adding
a unit there raises its bound by (m + 1) / m; X then follows up to the next bound, X / U of the
most used among the others. The consumer's thread cannot be doubled, but the stages in it can move
to processes, which leaves it the rest and the handing over.

.. [1] Denning and Buzen, "The operational analysis of queueing network models", ACM Computing
   Surveys 10(3), 1978.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dataflow.utils.words import counted

__all__ = ["explain"]

LOOP = "The consumer's own loop"
HANDLING = "The handling of the datapoints"
NETWORK = "The network"
_FULL = 0.85
_NOTED = 0.1  # a share of the transfers' time that silent hosts have
_WORTH = 1.05  # a prediction below this is none
# Threads of one interpreter that use about one core between them are taken to wait for its lock.
_LOCKED = (0.85, 1.15)

_MOVABLE = {"stage", "source", "transfers"}
# Seconds that the consumer's thread needs to get a small datapoint from a worker process.
_HANDOVER = 15e-6

_CONSUMER, _CORES, _LOCK = "the consumer's thread", "the cores", "the interpreter's lock"


@dataclass
class Station:
    """A place where datapoints queue.

    Attributes:
        name: for a person.
        used: its utilisation, 0 to 1.
        parts: the share of it that each thing done there has.
        runner: the row of the runner whose threads these are.
        transfers: the row of the stage whose transfers these are.
        through: bytes a second that pass it.
    """

    name: str
    used: float
    parts: dict[str, float] = field(default_factory=dict)
    runner: dict[str, Any] | None = None
    transfers: dict[str, Any] | None = None
    through: float = 0.0

    @property
    def largest(self) -> str:
        """The part that takes most."""
        return max(self.parts, key=lambda name: self.parts[name])


def explain(stats: dict[str, Any]) -> str:
    """One paragraph about ``ds.stats()``; its first sentence names the limiting stage."""
    seconds = stats["seconds"]
    elapsed = seconds["waiting"] + seconds["away"] - seconds["starting"]
    if not stats["items"] or elapsed <= 0:
        return "Nothing was delivered yet, so nothing can be said."
    # What the user's loop gets may be batches: count what the stages upstream worked on.
    rate = max([stats["items"], *(row["items"] for row in stats["stages"])]) / elapsed
    stations = _stations(stats, elapsed)
    # Cores are shared by all: which of the others makes use of them is the question.
    limit = max((s for s in stations if s.parts), key=lambda station: station.used)
    words = [_verdict(limit, rate), _outlook(limit, stations, stats, rate)]
    rows = stats["stages"]
    return " ".join([*words, *_silences(rows), *_pauses(rows), _figures(stats, elapsed, rate)])


def _silences(rows: list[dict[str, Any]]) -> list[str]:
    """Of transfers that were held by hosts that never said anything."""
    return [
        f"{row['silent'] / row['busy']:.0%} of the time of {row['name']}'s transfers went to hosts "
        "that did not answer; ds.errors() names those that failed."
        for row in rows
        if row.get("silent", 0) > _NOTED * row["busy"] > 0
    ]


def _pauses(rows: list[dict[str, Any]]) -> list[str]:
    """Of runners that were given a bound so small that workers stop while the loop is away."""
    return [
        f"Only {row['room']} datapoints may wait at {row['name']}, and the loop takes "
        f"{row['at_once']} at a time: workers stop while it is away. With room for two of those, "
        f"{2 * row['at_once']}, as there is without a number, they go on."
        for row in rows
        if row["kind"] == "runner" and row.get("room", 1) < 2 * row.get("at_once", 0)
    ]


def _stations(stats: dict[str, Any], elapsed: float) -> list[Station]:
    rows, seconds = stats["stages"], stats["seconds"]
    stations = [_consumer(stats, elapsed)]
    runners = {row["runner"]: row for row in rows if row["kind"] == "runner"}
    for name, runner in runners.items():
        parts: dict[str, float] = {}
        for row in rows:
            if row["runner"] == name and row["kind"] != "transfers":
                share = (row["busy"] - row["here"]) / (elapsed * row["units"])
                parts[row["name"]] = parts.get(row["name"], 0.0) + share
        used = sum(parts.values())
        stations.append(Station(f"the threads of {name}", used, parts, runner=runner))
        if "peers" in runner:
            used = seconds["idle"] / elapsed * max(0.0, 1 - used)
            through = runner["bytes"] / elapsed
            stations.append(
                Station("the network", used, {NETWORK: used}, runner=runner, through=through)
            )
        lowest, highest = _LOCKED
        cpu = seconds["cpu"] / elapsed
        if (
            runner["unit"] == "thread"
            and runner["threads"] > 1
            and lowest < cpu < highest < used * 2
        ):
            stations.append(Station(_LOCK, cpu))
    for row in rows:
        if row["kind"] == "transfers" and row["runner"] is not None:
            parts = {row["name"]: row["share"]}
            stations.append(Station(row["name"], row["share"], parts, transfers=row))
    stations.append(Station(_CORES, seconds["cpu"] / (elapsed * stats["cores"])))
    return stations


def _consumer(stats: dict[str, Any], elapsed: float) -> Station:
    """The thread that iterates: all that it does while it does not wait for workers."""
    seconds = stats["seconds"]
    parts = {LOOP: seconds["away"] / elapsed}
    runner = HANDLING
    for row in stats["stages"]:
        name = row["name"]
        parts[name] = parts.get(name, 0.0) + row["here"] / elapsed
        if row["kind"] == "runner":
            runner = name
    used = 1 - min(1.0, seconds["idle"] / elapsed)
    # What no stage accounts for went into leases, results and generators.
    parts[runner] = parts.get(runner, 0.0) + max(0.0, used - sum(parts.values()))
    return Station(_CONSUMER, used, parts)


def _verdict(limit: Station, rate: float) -> str:
    """The first sentence: who it is."""
    name = limit.largest
    share, each = limit.parts[name], limit.parts[name] / rate * 1000
    if name == LOOP:
        ready = ", and data is ready when it comes back" if share > _FULL else ""
        return f"{name} holds the run back: it is away {share:.0%} of the time{ready}."
    if name == NETWORK:
        assert limit.runner is not None, "it is that one's"
        machines = counted(len(limit.runner["peers"]), "machine")
        return (
            f"{name} holds the run back: {limit.through / 1e6:,.1f} MB/s come "
            f"from {machines}, and {share:.0%} of the time both sides wait."
        )
    if (row := limit.transfers) is not None:
        return (
            f"{name} holds the run back: on average {share * row['units']:.0f} of {row['units']} "
            "transfers are under way, and the stages after it wait for them."
        )
    if (runner := limit.runner) is not None:
        workers = counted(runner["workers"] * runner["threads"], "thread")
        if runner["unit"] != "thread":
            workers += f" in {counted(runner['workers'], runner['unit'])}"
        what = "sending" if name == runner["name"] else "it"
        verb = "is" if runner["units"] == 1 else "are"
        return (
            f"{name} holds the run back: {workers} {verb} busy {min(1.0, limit.used):.0%} of the "
            f"time, {share:.0%} with {what}, {each * runner['units']:,.2f} ms for each datapoint."
        )
    return (
        f"{name} holds the run back: the consumer's own thread, which is one, spends {share:.0%} "
        f"of the time on it, {each:,.3f} ms for each datapoint."
    )


def _outlook(limit: Station, stations: list[Station], stats: dict[str, Any], rate: float) -> str:
    """What one more of the limiting kind would bring."""
    others = [station for station in stations if station is not limit]
    if limit.largest == NETWORK:
        return (
            "One more worker brings nothing; smaller datapoints would (uint8 instead of float32, "
            "JPEGs that are decoded here), and where the way is long, a larger hwm."
        )
    if limit.runner is not None:
        source = next((r for r in stats["stages"] if r["name"] == limit.largest), None)
        if source is not None and source["kind"] == "iterator" and source["units"] == 1:
            return "It is one iterator, which only one process can run: one more brings nothing."
        one = limit.runner["unit"]
        count = limit.runner["threads" if one == "thread" else "workers"]
    elif limit.transfers is not None:
        one, count = "transfer", limit.transfers["units"]
    else:
        return _outlook_of_consumer(limit, others, stats, rate)
    best = min([(rate * (count + 1) / count, limit), *_bounds(others, rate)], key=lambda b: b[0])
    more = "; that holds as far as the servers and the network allow" if limit.transfers else ""
    return _promise(f"One more {one}", rate, *best, limit, more)


def _outlook_of_consumer(
    limit: Station, others: list[Station], stats: dict[str, Any], rate: float
) -> str:
    """Its thread cannot be doubled, but what stages do in it can move to a worker process."""
    kinds = {row["name"]: row["kind"] for row in stats["stages"]}
    # Upstream of a runner, only the keys of a source are left here.
    movable = _MOVABLE - {"source"} if "runner" in kinds.values() else _MOVABLE
    moved = sum(share for name, share in limit.parts.items() if kinds.get(name) in movable)
    stays = limit.used - moved + (0 if "runner" in kinds.values() else rate * _HANDOVER)
    full = rate * limit.used
    best = min(
        [(full / stays, limit), (2 * full / max(moved, 1e-9), limit), *_bounds(others, rate)],
        key=lambda bound: bound[0],
    )
    if moved and best[0] >= _WORTH * rate:
        return _promise("The stages there in two processes instead", rate, *best, limit)
    if kinds.get(limit.largest) == "iterator":
        return (
            "Only one thread can read it: one more thread or process brings nothing. "
            "PrefetchDataZMQ(ds, 1) reads it in a process of its own, unless it has to stay, as a "
            "queue has to; ds.plan() shows where it is."
        )
    if kinds.get(limit.largest) == "runner":
        return (
            "One more thread or process brings nothing; more work for each message would, such as "
            "a BatchData upstream of it."
        )
    if moved and best[1] is not limit:
        return _promise("The stages there in two processes instead", rate, *best, limit)
    return "One more thread or process brings nothing."


def _bounds(stations: list[Station], rate: float) -> list[tuple[float, Station]]:
    return [(rate / station.used, station) for station in stations if station.used > 0]


def _promise(
    what: str, rate: float, reached: float, by: Station, limit: Station, more: str = ""
) -> str:
    """What is reached, and by which station it is bounded."""
    if reached >= _WORTH * rate or by is limit:
        bound = "" if by is limit else f", where {by.name} would be the limit"
        gain = reached / rate - 1
        return f"{what} should bring {gain:+.0%}, to {reached:,.1f} datapoints/s{bound}{more}."
    if by.name == _CORES:
        return f"{what} brings nothing: as many processes as cores are busy already."
    if by.name == _LOCK:
        return f"{what} brings nothing: they share {by.name}; processes (PrefetchDataZMQ) do not."
    return f"{what} brings next to nothing: {by.name} comes next, used {min(1, by.used):.0%}."


def _figures(stats: dict[str, Any], elapsed: float, rate: float) -> str:
    seconds = stats["seconds"]
    rows = [row for row in stats["stages"] if row["busy"] > 0]
    busy = ", ".join(f"{row['name']} {row['share']:.0%} of {row['units']}" for row in rows)
    return (
        f"{rate:,.1f} datapoints/s over {elapsed:.1f} s; busy: {busy or 'nothing measured'}; "
        f"the consumer's loop {seconds['away'] / elapsed:.0%}; "
        f"{seconds['cpu'] / elapsed:.1f} of {stats['cores']} cores."
    )
