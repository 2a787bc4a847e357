"""A job in virtual time and the detector that judges it."""

from dataclasses import dataclass, field

from fakes.told_job import ToldJob

from gpuwarden.detector.events import DeadLetter, Polled, PublishFinding, Raw, Tick
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto.finding_pb2 import Finding, FindingState


@dataclass
class Judged:
    """A job and the detector that judges it. `said`: each change, as (second, kind, subject, whether it fires)."""

    job: ToldJob
    detector: Detector = field(default_factory=lambda: Detector(DetectorSetup()))
    findings: list[Finding] = field(default_factory=list)
    said: list[tuple[float, str, str, bool]] = field(default_factory=list)

    def run(self, seconds: int, *more: Raw) -> "Judged":
        for second in range(seconds):
            self._step(Polled((*(more if second == 0 else ()), *self.job.second())))
            self._step(Tick(int(self.job.now_s * 1e9)))
        return self

    def _step(self, event: Polled | Tick) -> None:
        for action in self.detector.step(self.job.now_s, event):
            assert not isinstance(action, DeadLetter), action
            if isinstance(action, PublishFinding):
                finding = Finding.FromString(action.payload)
                self.findings.append(finding)
                self.said.append((self.job.now_s, finding.kind, finding.subject.id, finding.state == FindingState.FINDING_STATE_FIRING))

    @property
    def firing(self) -> set[tuple[str, str]]:
        found = dict[tuple[str, str], bool]()
        for _, kind, subject, fires in self.said:
            found[kind, subject] = fires
        return {key for key, fires in found.items() if fires}
