"""One URL on its way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from dataflow.chance import Chance
from dataflow.errors import FetchError
from dataflow.http.cache import Kept
from dataflow.http.urls import BadURLError, login_of, parse, shown

__all__ = ["Done", "Job"]

Done: TypeAlias = Callable[[bytes | Exception], object]
"""Takes the body of a URL, or the exception that there was instead."""


class Job:
    """One URL on its way.

    Attributes:
        url: as it was submitted.
        target: what to request now; after a redirect, its target.
        host: the host of `target`, with the port where it has one.
        trial: how many trials were begun.
        hops: how many redirects this trial has followed.
        fenced: a public host redirected here, so that private addresses are out of bounds.
        foreign: a redirect left the host of the submitted URL, whose secrets must not follow.
        begun: when its last transfer began, on the schedule's clock.
        cookies: that redirects set, as libcurl writes them.
        chance: whether there will be another, and so what to do where the host does not answer;
            None: what can be done is done, whatever is known of the host.
        deadline: when to give up, on the schedule's clock; 0 before the first transfer.
        kept: what the cache has of it and has to be asked about.
        problem: why it cannot be requested at all.
    """

    __slots__ = (
        "begun",
        "chance",
        "cookies",
        "deadline",
        "done",
        "fenced",
        "first",
        "foreign",
        "home",
        "hops",
        "host",
        "kept",
        "problem",
        "target",
        "trial",
        "url",
    )

    def __init__(self, url: str, done: Done, chance: Chance | None = None) -> None:
        self.url = url
        self.problem: FetchError | None = None
        try:
            target, host = parse(url)
        except BadURLError as error:
            target = host = ""
            what = f"{shown(url)}: not a URL to fetch: {error}"
            self.problem = FetchError(what, reason="bad_url", url=url)
        self.first = self.target = target
        self.home = self.host = host
        self.done = done
        self.trial = 0
        self.hops = 0
        self.fenced = False
        self.foreign = False
        self.begun = self.deadline = 0.0
        self.chance = chance
        self.cookies: list[str] = []
        self.kept: Kept | None = None

    @property
    def key(self) -> str:
        """What a cache knows it by: URLs that differ in nothing that is sent have the same."""
        return self.first.partition("#")[0]

    @property
    def has_login(self) -> bool:
        """Whether `target` has a user in it."""
        return "@" in login_of(self.target)

    def rewind(self) -> None:
        """Go back to before the redirects."""
        self.target, self.host = self.first, self.home
        self.hops = 0
        self.fenced = self.foreign = False
        self.cookies = []

    def error(self, reason: str, what: str, status: int | None = None) -> FetchError:
        """A `FetchError` for this URL; `what` continues a sentence that begins with it."""
        where = shown(self.url)
        if self.target is not self.first:
            where += f" (redirected to {shown(self.target)})"
        if self.trial > 1:
            what += f" (trial {self.trial})"
        message, trials = f"{where}: {what}", self.trial or None
        return FetchError(message, reason=reason, url=self.url, status=status, trials=trials)
