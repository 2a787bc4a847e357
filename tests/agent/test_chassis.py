"""Whatever a BMC says in whatever resource: readings that can be, or a reason."""

import copy
from typing import Any

from fakes.redfish.tree import NODE, ROOT, SUPPLY_W, link, resource, tree
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.agent.chassis_sources import SOURCES, ask, choose, find_chassis
from gpuwarden.core.redfish import HIGHEST, Json, NotTold, RedfishFailed

BOTH = tree(present=True, before=True)
LINKS = st.sampled_from(sorted(BOTH)).map(lambda path: {"@odata.id": path})
WORDS = st.sampled_from(["Absent", "RPM", "Percent", "Intake", "Temperature", "Disabled"]) | st.text(max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | LINKS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside a document."""
    inside = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    return [place for key, inner in inside for place in [(value, key), *places(inner)]]


@settings(max_examples=150)
@given(st.data())
def test_no_answer_breaks_it_and_every_reading_could_be_one(data: st.DataObject) -> None:
    made = copy.deepcopy(BOTH)
    for _ in range(data.draw(st.integers(1, 4))):
        container, key = data.draw(st.sampled_from(places(made)))
        container[key] = data.draw(JSON)

    def get(path: str) -> Json:
        if not isinstance(made.get(path), dict):
            raise NotTold(f"{path}: answered 404")
        return made[path]

    try:
        chassis = find_chassis(get)
        chosen = choose(chassis)
    except RedfishFailed as why:
        assert str(why)
        return
    for source in chosen.values():
        for found in ask(source, chassis):
            assert found.why if found.value is None else abs(found.value) <= HIGHEST


def test_each_quantity_has_a_source_of_the_present_schema_first() -> None:
    made = tree(present=True, before=True)
    chosen = choose(find_chassis(made.__getitem__))
    assert [chosen[quantity] for quantity in SOURCES] == [sources[0] for sources in SOURCES.values()]


def test_a_node_whose_supplies_say_nothing_now_is_still_told_from_its_boards() -> None:
    made = copy.deepcopy(BOTH)
    board = f"{ROOT}/Chassis/Board"
    made[board]["ThermalSubsystem"] = link(f"{board}/ThermalSubsystem")
    made[f"{board}/ThermalSubsystem"] = resource("ThermalSubsystem.v1_3_0.ThermalSubsystem", f"{board}/ThermalSubsystem")
    for supply in made[f"{NODE}/Power"]["PowerSupplies"]:
        supply["PowerInputWatts"] = None
    for i in range(len(SUPPLY_W)):
        made[f"{NODE}/PowerSubsystem/PowerSupplies/{i}/Metrics"]["InputPowerWatts"] = None
    assert find_chassis(made.__getitem__).path == NODE
    made[NODE] = {}
    assert find_chassis(made.__getitem__).path == board
