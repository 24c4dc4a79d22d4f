"""The planner: from the records of a chain to the fragments that run.

A chain is run as it is written where nothing else is said here: each stage takes from the one
upstream of it, in the loop's thread. The planner's rewrites, by name, are what makes it fast:

=================== ============================================================================
fuse                per-item stages that follow each other are one op chain; nothing waits between
order to keys       shuffles, repetitions, shards and mixes over op chains work on keys, before
                    anything is loaded
flatten runners     runners upstream of a runner start no workers, but say how many threads and
                    transfers each of its workers has, and what becomes of their failures
batch to workers    a batch upstream of a runner is built by the worker that makes its datapoints
source to worker    an iterator upstream of a runner is read in a worker, with the stages on it
                    where there is a single one; with ``replicate=True`` in each
fill behind         a batch downstream of a runner is filled by a thread behind the loop
divide anew         a stage takes over from the next one what is less work together, such as cutting
                    out of an image that is being decoded
=================== ============================================================================

None of them changes what comes: positions, random numbers, errors and states are those of the
chain as it is written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from dataflow.failures import ErrorPolicy
from dataflow.foreign import as_stage
from dataflow.node import Node, inputs, is_native, stage_number, stays
from dataflow.plan.fragment import Fragment
from dataflow.plan.index import Keys, Ordered, Outputs, Shifted
from dataflow.plan.ops import BatchChain, OpChain
from dataflow.plan.tasks import LOADER
from dataflow.plan.whole import SOURCE_TO_WORKER, replicated, runs_whole, source_to_worker
from dataflow.records import BatchOp, Copying, ItemOp, KeySource, Opaque, OrderOp, Record, RunnerOp

__all__ = [
    "BATCH_TO_WORKERS",
    "DIVIDE_ANEW",
    "FILL_BEHIND",
    "FLATTEN_RUNNERS",
    "FUSE",
    "ORDER_TO_KEYS",
    "SOURCE_TO_WORKER",
    "Site",
    "fills_behind",
    "fragment_for_access",
    "fragment_of",
    "fragment_of_source",
    "fragments_of_pool",
    "lower",
    "ops_over_stream",
    "stages_for_workers",
]

logger = logging.getLogger(__name__)

FUSE = "fuse"
ORDER_TO_KEYS = "order to keys"
FLATTEN_RUNNERS = "flatten runners"
BATCH_TO_WORKERS = "batch to workers"
FILL_BEHIND = "fill behind"
DIVIDE_ANEW = "divide anew"


# -- lowering ----------------------------------------------------------------------------------


def lower(flow: Any) -> Record:
    """The record of a flow, ours or a foreign one, over those of all upstream of it."""
    upstream = tuple(map(lower, inputs(flow)))
    if is_native(flow):
        record: Record = flow._to_record(upstream)
        return record
    if not isinstance(flow, Node) and (stage := as_stage(flow)) is not None:
        return ItemOp(flow, upstream, stage)
    # An own class over keys is not sent: they would all go with it.
    return Opaque(flow, upstream, stays(flow), movable=not getattr(flow, "_has_keys", False))


# -- what makes a fragment ---------------------------------------------------------------------


class Site(NamedTuple):
    """Where in a chain a flow is opened.

    Attributes:
        runners: those downstream, from there upstream. The first one runs it.
        policy: decides about failures that no runner upstream decides about.
        pools: pools of other machines count as runners; not for `ds[i]`, which is made here.
    """

    runners: tuple[Any, ...] = ()
    policy: ErrorPolicy | None = None
    pools: bool = True


@dataclass(frozen=True)
class _Downstream:
    """What is downstream of a record, within the fragment or beyond it.

    Attributes:
        runner: there is one.
        shared: there is one, or another flow is beside the record. The machines of a pool have only
            the chain upstream of the pool, so they cannot run a fragment that is more than that.
        ordered: an order is.
        pools: as of a `Site`.
    """

    runner: bool
    shared: bool
    ordered: bool = False
    pools: bool = True


_WITH_RUNNER = _Downstream(runner=True, shared=True)
_ALONE = _Downstream(runner=False, shared=False)


def fragment_of(record: Record, site: Site) -> Fragment | None:
    """The fragment that a flow is at its place; None where it takes from those upstream in turn."""
    downstream = _Downstream(bool(site.runners), bool(site.runners), pools=site.pools)
    if _fits(record, downstream):
        fragment = _fragment(record, downstream)
        fragment.adopt(site.policy)
        for runner in reversed(site.runners):
            _run_on(fragment, runner)
        if fragment.runner is not None and stays(fragment.runner) and not site.pools:
            fragment.runner = None
        return fragment
    return _batch_to_workers(record, site) if site.runners else None


def fragment_for_access(record: Record, site: Site) -> Fragment | None:
    """The fragment in which one datapoint at any place can be made here; None where there is none.

    Raises:
        TypeError: (by the index source) where datapoints can only be had in turn.
    """
    downstream = _Downstream(runner=True, shared=True, pools=site.pools)
    if not _fits(record, downstream):
        return None
    fragment = _fragment(record, downstream)
    fragment.adopt(site.policy)
    return fragment


def ops_over_stream(record: Record, policy: ErrorPolicy | None) -> tuple[Fragment, Any]:
    """Per-item stages over a flow that streams: their op chain, and that flow.

    Args:
        record: the stage that is furthest downstream.
        policy: decides about its failures.
    """
    ops = [record]
    (upstream,) = record.inputs
    while isinstance(upstream, ItemOp) and not _fits(upstream, _ALONE):
        ops.insert(0, upstream)
        (upstream,) = upstream.inputs
    chain, owners, divided = OpChain(), {(0, LOADER): upstream.flow}, False
    for op in ops:
        assert isinstance(op, ItemOp), "there is nothing else"
        owners[0, len(chain.stages)] = op.flow
        divided = chain.add(op.stage, stage_number(op.flow)) or divided
    # Without places of its own: these are those of the stream.
    fragment = Fragment(record.flow, [chain], [], owners, [0], sequential=True)
    fragment.adopt(policy)
    if len(ops) > 1:
        fragment.note(FUSE)
    if divided:
        fragment.note(DIVIDE_ANEW)
    return fragment, upstream.flow


def fragments_of_pool(pool: Any) -> list[Fragment]:
    """What the workers of a pool run, from downstream up; so another host can say which."""
    return list(_fragments_upstream(lower(pool.ds), pool))


def _fragments_upstream(record: Record, pool: Any) -> Iterator[Fragment]:
    site = Site((pool,))
    if _fits(record, _WITH_RUNNER):
        fragment = _fragment(record, _WITH_RUNNER)
        fragment.run_on(pool)
    elif (found := _batch_of(record)) is not None and _fits(found.batch.inputs[0], _WITH_RUNNER):
        fragment = _with_batches(found, site)
    else:
        for one in record.inputs:
            yield from _fragments_upstream(one, pool)
        return
    yield fragment
    for leaf in _leaves(record):  # what the caches in it read once
        if not isinstance(leaf, RunnerOp) and is_native(leaf.flow):
            for one in leaf.inputs:
                yield from _fragments_upstream(one, pool)


def _leaves(record: Record) -> Iterator[Record]:
    """The records whose datapoints or keys are the tasks of a fragment."""
    if _is_leaf(record, shared=True):
        yield record
    else:
        for one in record.inputs:
            yield from _leaves(one)


def stages_for_workers(record: Record) -> Iterator[Fragment]:
    """Every fragment upstream, as a runner that has its workers elsewhere would run it."""
    if _fits(record, _WITH_RUNNER):
        fragment = _fragment(record, _WITH_RUNNER)
        fragment.send_all()
        yield fragment
    else:
        for one in record.inputs:
            yield from stages_for_workers(one)


def _is_leaf(record: Record, *, shared: bool) -> bool:
    """Whether it is read where the loop is: it has keys, or it can only be iterated."""
    match record:
        case Copying():
            return _fits(record.inputs[0], _WITH_RUNNER)
        case KeySource() | Opaque():
            return True
        case RunnerOp(stays=True):
            return shared
        case _:
            return False


def _fits(record: Record, downstream: _Downstream) -> bool:
    """Whether a record and all upstream of it make a fragment."""
    if _is_leaf(record, shared=downstream.shared and downstream.pools):
        # Orders make of places what they would not make of a stream, such as of batches.
        pool = isinstance(record, RunnerOp)
        return not (downstream.ordered and pool) or _fits(record.inputs[0], _WITH_RUNNER)
    match record:
        case RunnerOp():
            if not downstream.runner and runs_whole(record):
                return True
            inner = _Downstream(True, True, downstream.ordered, downstream.pools)
            return _fits(record.inputs[0], inner)
        case ItemOp() | OrderOp():
            inner = _Downstream(
                downstream.runner,
                downstream.shared or len(record.inputs) > 1,
                downstream.ordered or isinstance(record, OrderOp),
                downstream.pools,
            )
            return all(
                _fits(one, inner)
                and (downstream.runner or not (isinstance(one, RunnerOp) and runs_whole(one)))
                for one in record.inputs
            )
        case _:
            return False


def _fragment(record: Record, downstream: _Downstream) -> Fragment:
    """The fragment of a record that fits."""
    if isinstance(record, RunnerOp) and not downstream.runner and runs_whole(record):
        return replicated(record) if record.replicas else source_to_worker(record)
    return _fused(record, downstream.runner, downstream.pools)


# -- the rewrites ------------------------------------------------------------------------------


def _fused(
    record: Record, shared: bool, pools: bool = True, policy: ErrorPolicy | None = None
) -> Fragment:
    """Per-item stages as op chains, orders as orders of keys, runners as one."""
    flow = record.flow
    if isinstance(record, KeySource):
        return fragment_of_source(flow)
    if _is_leaf(record, shared=shared and pools):
        outputs = _outputs(record, policy)
        fragment = Fragment(flow, [OpChain()], [outputs], {(0, LOADER): flow}, [0])
        if isinstance(record, Opaque) and record.movable and not record.stays:
            fragment.read_here.append(flow)
        return fragment
    runner = isinstance(record, RunnerOp)
    shared = shared or len(record.inputs) > 1 or runner
    policy = flow._policy if runner else policy
    fragment = _merged([_fused(one, shared, pools, policy) for one in record.inputs])
    fragment.top = flow
    match record:
        case RunnerOp():
            _run_on(fragment, flow)
            for chain in fragment.chains:
                chain.sealed = chain.sealed or record.stays
        case OrderOp():
            fragment.index_sources = [Ordered(flow, fragment.index_sources)]
            fragment.note(ORDER_TO_KEYS)
        case ItemOp():
            if any(chain.stages for chain in fragment.chains):
                fragment.note(FUSE)
            for number, chain in enumerate(fragment.chains):
                fragment.owners[number, len(chain.stages)] = flow
                if chain.add(record.stage, stage_number(flow)):
                    fragment.note(DIVIDE_ANEW)
    return fragment


def _run_on(fragment: Fragment, runner: Any) -> None:
    if fragment.runner is not None:
        fragment.note(FLATTEN_RUNNERS)
    fragment.run_on(runner)


def _outputs(record: Record, policy: ErrorPolicy | None) -> Outputs:
    if isinstance(record, RunnerOp) and _fits(record.inputs[0], _WITH_RUNNER):
        upstream = _fused(record.inputs[0], shared=True).index_sources[0]
        return Outputs(record.flow, policy, upstream)
    if isinstance(record, Copying):
        sources = _fused(record.inputs[0], shared=True).index_sources
        return Outputs(record.flow, policy, Ordered(record.flow, sources), seeks=True)
    return Outputs(record.flow, policy)


def _merged(fragments: list[Fragment]) -> Fragment:
    """The fragments of several inputs as one, which one set of workers can run."""
    if len(fragments) == 1:
        return fragments[0]
    whole = Fragment(None, [], [], {})
    for one in fragments:
        by = len(whole.chains)
        whole.owners |= {(by + number, at): flow for (number, at), flow in one.owners.items()}
        whole.chains += one.chains
        whole.index_sources += [Shifted(source, by) for source in one.index_sources]
        whole.threads = max(whole.threads, one.threads)
        whole.sent += one.sent
        whole.read_here += one.read_here
        whole.runner = one.runner if whole.runner is None else whole.runner
        for rewrite in one.rewrites:
            whole.note(rewrite)
    return whole


def fragment_of_source(source: Any) -> Fragment:
    """The fragment that is just a source with keys."""
    loader = source.loader()
    chain = OpChain(loader, lends=loader is None)
    owners: dict[tuple[int, int], Any] = {(0, LOADER): source}
    for stage in source._stages():
        owners[0, len(chain.stages)] = stage
        chain.add(stage, 0)
    if (policy := getattr(source, "_policy", None)) is not None:
        chain.adopt(policy)
    # Without a runner they run here; with several inputs, workers of another's runner may load.
    return Fragment(source, [chain], [Keys(source)], owners, [len(chain.stages)])


class _Found(NamedTuple):
    """A batch upstream of a runner.

    Attributes:
        batch: it.
        downstream: stages and runners on it, from there on.
    """

    batch: BatchOp
    downstream: list[Record]


def _batch_of(record: Record) -> _Found | None:
    """The batch that a record is, or consists of per-item stages over; None where it does not."""
    downstream: list[Record] = []
    while not isinstance(record, BatchOp):
        match record:
            case RunnerOp(stays=False) | ItemOp():
                downstream.insert(0, record)
                (record,) = record.inputs
            case _:  # a pool, too: its machines build the batches
                return None
    return _Found(record, downstream)


def _batch_to_workers(record: Record, site: Site) -> Fragment | None:
    found = _batch_of(record)
    if found is None or not _fits(found.batch.inputs[0], _WITH_RUNNER):
        return None
    if not found.downstream:
        members = _fragment(found.batch.inputs[0], _WITH_RUNNER)
        members.send_all()
        if members.idle:
            return None
    return _with_batches(found, site)


def _with_batches(found: _Found, site: Site) -> Fragment:
    """Workers build batches of a fragment's datapoints.

    There are two op chains for it: with the stages on the batch, and, for the case that batches
    have to be put together anew where the loop is, one that leaves those stages to the consumer.
    """
    (members,) = found.batch.inputs
    fragment = _fragment(members, _Downstream(True, True, pools=site.pools))
    fragment.note(BATCH_TO_WORKERS)
    fragment.batch = stage = found.batch.flow
    fragment.batching = len(fragment.chains)
    for chain in fragment.chains:
        chain.lends = chain.loader is None  # a batch may be made again, of the same datapoints
    added = [BatchChain(batch=stage), BatchChain(batch=stage)]
    for number, chain in enumerate(added, fragment.batching):
        fragment.chains.append(chain)
        fragment.owners[number, LOADER] = stage
    for record in found.downstream:
        if isinstance(record, RunnerOp):
            _run_on(fragment, record.flow)
            continue
        assert isinstance(record, ItemOp), "there is nothing else"
        for number, chain in enumerate(added, fragment.batching):
            fragment.owners[number, len(chain.stages)] = record.flow
            chain.add(record.stage, stage_number(record.flow))
    fragment.adopt(site.policy)
    for runner in reversed(site.runners):
        _run_on(fragment, runner)
    fragment.sent[fragment.batching + 1] = 0
    return fragment


def fills_behind(record: Record) -> bool:
    """Whether only code of this package runs here for the datapoints that a runner delivers.

    What users wrote may expect to run in the thread that has always called it.
    """
    if not isinstance(record, RunnerOp) or record.replicas:
        return False
    if not _fits(record.inputs[0], _WITH_RUNNER):
        return False
    for one in _all(record):
        policy = getattr(one.flow, "_policy", None)
        if policy is not None and callable(policy.on_error):
            return False
        if not one.inputs and not isinstance(one, KeySource):
            return False
    return True


def _all(record: Record) -> Iterator[Record]:
    yield record
    for one in record.inputs:
        yield from _all(one)
