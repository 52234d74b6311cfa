"""What a fine-tuning job needs, decided when it begins, and where the folders of jobs are."""

from pathlib import Path

from freehold.app_tuning import jobs_folder
from freehold.gateway.tuning_folder import needed
from freehold.store.home import Home
from freehold.types.cluster import Node, NodeState, Resources
from freehold.types.fine_tuning import FineTuningSettings

MANY = Node("a", "a", "eu", Resources(cores=4096), Resources(cores=4000))
FEW = Node("b", "b", "us", Resources(cores=8), Resources(cores=3))
LOST = Node("c", "c", "us", Resources(cores=9000), Resources(cores=9000), NodeState.LOST)


def test_a_job_has_the_cores_that_are_free_on_one_node() -> None:
    """Threads left open are those free on the freest node, and at most as many as there are if it trains here."""
    settings = FineTuningSettings()
    assert needed(settings, [FEW, MANY, LOST], here=False).threads == 4000
    assert needed(settings, [FEW], here=False).threads == 3
    busy = Node("b", "b", "us", Resources(cores=8), Resources())
    assert needed(settings, [busy], here=False).threads == 4
    assert 1 <= needed(settings, [MANY], here=True).threads < 4000
    assert needed(FineTuningSettings(threads=7), [FEW], here=False).threads == 7


def test_folders_elsewhere_are_this_homes_own(tmp_path: Path) -> None:
    """Two homes that name the same folder have their jobs apart in it, and one of them always in the same."""
    settings = FineTuningSettings(folder=str(tmp_path / "shared"))
    one, other = (Home(tmp_path / name) for name in ("one", "other"))
    for home in (one, other):
        (home.root / "secrets").mkdir(parents=True)
    assert jobs_folder(one, FineTuningSettings()) == one.jobs
    assert jobs_folder(one, settings).parent == jobs_folder(other, settings).parent == tmp_path / "shared"
    assert jobs_folder(one, settings) != jobs_folder(other, settings)
    assert jobs_folder(one, settings) == jobs_folder(Home(one.root), settings)
