"""The servers that other tests stand on."""

from pathlib import Path
from typing import TYPE_CHECKING

from kafka.admin import KafkaAdminClient  # type: ignore[import-untyped]  # has no types
from services.kafka import Broker
from services.slurm import NODES, Slurm

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_the_broker_answers(kafka_broker: Broker) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    try:
        assert len(admin.describe_cluster()["brokers"]) == 1
    finally:
        admin.close()


def test_the_browser_shows_a_page_of_its_own_machine(browser: "Browser", tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<h1>Row 7</h1>")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.inner_text("h1") == "Row 7"
    page.close()


def test_a_job_runs_on_every_node_of_the_scheduler(slurm_cluster: Slurm) -> None:
    slurm_cluster.end_everything()
    job = slurm_cluster.submit("exec srun sh -c 'echo $SLURMD_NODENAME'", f"--nodes={len(NODES)}")
    slurm_cluster.wait_until(lambda: not slurm_cluster.tool("squeue", "--noheader"))
    assert sorted((slurm_cluster.folder / f"job-{job}.out").read_text().split()) == sorted(NODES)
