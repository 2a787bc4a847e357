"""What the controller does beside granting: tell people. A form of webhook is one file and one line of FORMS."""

from collections.abc import Callable, Mapping
from typing import Final

from gpuwarden.controller.actuators import alertmanager, cloudevents, pagerduty, slack
from gpuwarden.controller.actuators.post import Occasion, Post
from gpuwarden.controller.events import Notify

FORMS: Final[Mapping[str, Callable[[Notify, Occasion], Post]]] = {
    "alertmanager": alertmanager.form,
    "cloudevents": cloudevents.form,
    "pagerduty": pagerduty.form,
    "slack": slack.form,
}
"""From a word on an alert and the occasion."""
