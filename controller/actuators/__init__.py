"""What the controller does beside granting: tell people. A form of webhook is one file and one line of FORMS."""

from collections.abc import Callable, Mapping
from typing import Final

from gpuwarden.controller.actuators import cloudevents, slack
from gpuwarden.controller.actuators.post import Post
from gpuwarden.controller.events import Notify

FORMS: Final[Mapping[str, Callable[[Notify], Post]]] = {
    "cloudevents": cloudevents.form,
    "slack": slack.form,
}
