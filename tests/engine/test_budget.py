"""Deaths count as long as nothing gets done in between."""

from __future__ import annotations

from dataflow.engine.budget import RestartBudget


def test_deaths_count_up_to_the_next_result() -> None:
    budget = RestartBudget(2)
    for _ in range(3):
        budget.look()
        budget.death()
    assert budget.spent and budget.deaths == 3
    budget.look()
    budget.progress()
    assert not budget.spent and budget.deaths == 0


def test_of_deaths_seen_beside_results_one_counts() -> None:
    budget = RestartBudget(2)
    budget.look()
    budget.progress()
    for _ in range(5):
        budget.death()
    assert budget.deaths == 1 and not budget.spent
    budget.look()
    budget.death()
    budget.death()
    assert budget.deaths == 3 and budget.spent


def test_a_budget_of_none_is_spent_by_one_death() -> None:
    budget = RestartBudget(0)
    budget.look()
    budget.progress()
    budget.death()
    assert budget.spent
