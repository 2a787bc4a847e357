"""The computer that a BMC is of, which may be switched off (DSP0268, ComputerSystem)."""

from fakes.redfish.tree import ROOT, Tree, collection, link, resource

SYSTEM = f"{ROOT}/Systems/Node"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"


def with_system(tree: Tree) -> Tree:
    """The same and a system."""
    reset = {"target": RESET, "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "GracefulShutdown"]}
    system = resource("ComputerSystem.v1_20_0.ComputerSystem", SYSTEM, PowerState="On", Actions={"#ComputerSystem.Reset": reset})
    root = {**tree[f"{ROOT}/"], "Systems": link(f"{ROOT}/Systems")}
    return {**tree, f"{ROOT}/": root, f"{ROOT}/Systems": collection(f"{ROOT}/Systems", [SYSTEM]), SYSTEM: system}
