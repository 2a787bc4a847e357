"""The resources of a rack PDU with two branches and an outlet, after the DMTF's PowerDistribution schema (DSP0268)."""

from fakes.redfish.tree import ENABLED, ROOT, Tree, collection, link, resource

PDU = f"{ROOT}/PowerEquipment/RackPDUs/1"
TOTAL_W, BRANCH_W, OUTLET_W = 18_240.0, (9_310.0, 8_930.0), 2_960.0


def pdu() -> Tree:
    """Path to document."""
    equipment, branches, sensor = f"{ROOT}/PowerEquipment", f"{PDU}/Branches", f"{PDU}/Sensors/Mains"
    made = {
        f"{ROOT}/": resource("ServiceRoot.v1_15_0.ServiceRoot", f"{ROOT}/", PowerEquipment=link(equipment)),
        equipment: resource("PowerEquipment.v1_2_0.PowerEquipment", equipment, RackPDUs=link(f"{equipment}/RackPDUs")),
        f"{equipment}/RackPDUs": collection(f"{equipment}/RackPDUs", [PDU]),
        PDU: resource(
            "PowerDistribution.v1_3_0.PowerDistribution", PDU, EquipmentType="RackPDU", Status=ENABLED, Metrics=link(f"{PDU}/Metrics"),
            Branches=link(branches), Sensors=link(f"{PDU}/Sensors"),
        ),
        f"{PDU}/Metrics": resource(
            "PowerDistributionMetrics.v1_3_0.PowerDistributionMetrics", f"{PDU}/Metrics",
            PowerWatts={"DataSourceUri": sensor, "Reading": TOTAL_W, "PowerFactor": 0.97}, EnergykWh={"Reading": 36166.0},
        ),
        branches: collection(branches, [f"{branches}/{name}" for name in "AB"]),
        f"{PDU}/Outlets/A1": resource(
            "Outlet.v1_4_0.Outlet", f"{PDU}/Outlets/A1", Status=ENABLED, PowerState="On", PowerWatts={"Reading": OUTLET_W},
        ),
        sensor: resource("Sensor.v1_7_0.Sensor", sensor, ReadingType="Power", ReadingUnits="W", Reading=TOTAL_W, Status=ENABLED),
        f"{sensor}kW": resource("Sensor.v1_7_0.Sensor", f"{sensor}kW", ReadingType="Power", ReadingUnits="kW", Reading=TOTAL_W / 1e3),
    }
    for name, branch_w in zip("AB", BRANCH_W, strict=True):
        made[f"{branches}/{name}"] = resource(
            "Circuit.v1_7_0.Circuit", f"{branches}/{name}", CircuitType="Branch", Status=ENABLED, PowerWatts={"Reading": branch_w},
            PolyPhasePowerWatts={"Line1ToLine2": {"Reading": branch_w}},
        )
    return made
