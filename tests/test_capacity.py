"""The plan for a load: its stored simulation is that of the stored costs, and is sized as it says."""

from __future__ import annotations

import json

from benchmarks.capacity import FAILED, INPUTS, RATE, costs, scenarios, simulation_table, sized
from benchmarks.capacity import result as result_of
from benchmarks.cluster_simulation import simulate


def test_the_committed_simulation_is_that_of_the_committed_costs() -> None:
    """The plan of the page, simulated again, has the same figures."""
    inputs = json.loads(INPUTS.read_text("utf-8"))
    plan = scenarios(inputs["kinds"])["the plan"]

    assert result_of(plan, simulate(plan, seconds=2.0)) == inputs["simulated"]["the plan"]


def test_the_committed_scenarios_are_those_of_the_program() -> None:
    """Each has a row, in order, and none is left from an earlier version."""
    inputs = json.loads(INPUTS.read_text("utf-8"))

    assert list(inputs["simulated"]) == list(scenarios(inputs["kinds"]))
    assert FAILED in inputs["simulated"]
    assert len(simulation_table(inputs["simulated"]).splitlines()) == len(inputs["simulated"]) + 1


def test_nothing_shared_costs_no_call() -> None:
    """Without Redis the plan needs fewer processes, and no request makes a call."""
    kinds = json.loads(INPUTS.read_text("utf-8"))["kinds"]

    shared, alone = costs(kinds), costs(kinds, are_shared=False)

    assert all(alone[kind].process < shared[kind].process for kind in shared)
    assert {sum(cost.calls) for cost in alone.values()} == {0}
    assert sized(alone, RATE).processes < sized(shared, RATE).processes
