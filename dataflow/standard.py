"""The package as it is put together: flows get their methods, and the engine that runs them."""

from __future__ import annotations

from dataflow import opening, resume
from dataflow.emptiness import why_nothing
from dataflow.engine.session import Session
from dataflow.explain import explain
from dataflow.flow import DataFlow
from dataflow.methods import attach
from dataflow.plan.show import plan_of
from dataflow.runtime import Runtime, install
from dataflow.summary import summarise

__all__ = ["assemble"]


def assemble() -> None:
    """Called once, by the package itself."""
    attach(DataFlow)
    install(
        Runtime(
            session=Session,
            stream=opening.stream,
            at=opening.at,
            state_of=resume.state_of,
            checked=resume.checked,
            restore_failures=resume.restore_failures,
            plan=plan_of,
            summarise=summarise,
            explain=explain,
            why_nothing=why_nothing,
        )
    )
