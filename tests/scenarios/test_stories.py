"""Every story goes as it is told, and no rail can be taken out without one that goes otherwise."""

from dataclasses import replace
from pathlib import Path

import pytest
from scenarios.story import Story, Telling, stories

from gpuwarden.controller.isolation.judging import ALL, Rails

STORIES = list(stories())
NAMES = [*ALL.signal, *ALL.action]


@pytest.mark.parametrize(("path", "story"), STORIES, ids=[story.title for _, story in STORIES])
def test_it_goes_as_it_is_told(path: Path, story: Story) -> None:
    assert Telling().run(story) == list(story.told), f"{path.name}: read what has changed, then python tests/scenarios/story.py {path.stem}"


def without(name: str) -> Rails:
    return replace(
        ALL, signal={key: rail for key, rail in ALL.signal.items() if key != name}, action={key: rail for key, rail in ALL.action.items() if key != name}
    )


def goes_otherwise(story: Story, rails: Rails) -> bool:
    try:
        return Telling(rails).run(story) != list(story.told)
    except AssertionError:  # without it something goes on for ever
        return True


@pytest.mark.parametrize("name", NAMES)
def test_without_a_rail_a_story_goes_otherwise(name: str) -> None:
    told = [story for _, story in STORIES if name in story.rails]
    assert told, f"no story says `held by {name}`"
    for story in told:
        assert goes_otherwise(story, without(name)), story.title


def test_stories_name_only_rails_that_there_are() -> None:
    assert frozenset().union(*(story.rails for _, story in STORIES)) <= frozenset(NAMES)


def test_there_are_as_many_as_were_asked_for_and_no_two_have_one_name() -> None:
    titles = [story.title for _, story in STORIES]
    assert len(titles) == len(set(titles)) >= 40
