"""The resources of a node with two supplies and four fans, after the DMTF's schema: the present one, the one before, or both."""

from typing import Any

ROOT = "/redfish/v1"
NODE = f"{ROOT}/Chassis/Node"
Tree = dict[str, dict[str, Any]]

SUPPLY_W, FAN_RPM, INTAKE_CELSIUS, CHASSIS_W, LIMIT_W = (1510.0, 1490.0), (8000, 8100, 7900, 8200), 24.5, 2960.0, 6500.0
ENABLED = {"State": "Enabled", "Health": "OK"}


def tree(present: bool, before: bool) -> Tree:
    """Path to document."""
    made = {
        f"{ROOT}/": resource("ServiceRoot.v1_15_0.ServiceRoot", f"{ROOT}/", RedfishVersion="1.18.0", Chassis=link(f"{ROOT}/Chassis")),
        # A board of its own stands first, as in nodes with a GPU baseboard: it tells of itself, not of the node.
        f"{ROOT}/Chassis": collection(f"{ROOT}/Chassis", [f"{ROOT}/Chassis/Board", NODE]),
        f"{ROOT}/Chassis/Board": resource(
            "Chassis.v1_23_0.Chassis", f"{ROOT}/Chassis/Board", EnvironmentMetrics=link(f"{ROOT}/Chassis/Board/EnvironmentMetrics")
        ),
        f"{ROOT}/Chassis/Board/EnvironmentMetrics": resource(
            "EnvironmentMetrics.v1_3_0.EnvironmentMetrics", f"{ROOT}/Chassis/Board/EnvironmentMetrics", PowerWatts={"Reading": 77.0}
        ),
        NODE: resource("Chassis.v1_23_0.Chassis", NODE, ChassisType="RackMount", PowerState="On", Status=ENABLED),
    }
    for wanted, resources in ((present, _present()), (before, _before())):
        if wanted:
            made |= resources
            made[NODE] |= {path.rpartition("/")[2]: link(path) for path in resources if path.count("/") == NODE.count("/") + 1}
    return made


def _present() -> Tree:
    power, thermal = f"{NODE}/PowerSubsystem", f"{NODE}/ThermalSubsystem"
    made = {
        power: resource("PowerSubsystem.v1_1_0.PowerSubsystem", power, PowerSupplies=link(f"{power}/PowerSupplies")),
        thermal: resource(
            "ThermalSubsystem.v1_3_0.ThermalSubsystem", thermal, Fans=link(f"{thermal}/Fans"), ThermalMetrics=link(f"{thermal}/ThermalMetrics")
        ),
        f"{thermal}/ThermalMetrics": resource(
            "ThermalMetrics.v1_2_0.ThermalMetrics", f"{thermal}/ThermalMetrics",
            TemperatureSummaryCelsius={"Intake": {"Reading": INTAKE_CELSIUS}, "Exhaust": {"Reading": 41.0}},
        ),
        f"{NODE}/EnvironmentMetrics": resource(
            "EnvironmentMetrics.v1_3_0.EnvironmentMetrics", f"{NODE}/EnvironmentMetrics", PowerWatts={"Reading": CHASSIS_W},
            PowerLimitWatts={"SetPoint": LIMIT_W, "AllowableMin": 2000, "AllowableMax": 10000, "ControlMode": "Automatic"},
        ),
        f"{NODE}/Sensors": collection(f"{NODE}/Sensors", [f"{NODE}/Sensors/CPU", f"{NODE}/Sensors/Intake"]),
        f"{NODE}/Sensors/CPU": sensor("CPU", "CPU", 61.0),
        f"{NODE}/Sensors/Intake": sensor("Intake", "Intake", INTAKE_CELSIUS),
    }
    return made | _supplies(f"{power}/PowerSupplies") | _fans(f"{thermal}/Fans")


def _supplies(at: str) -> Tree:
    made = {at: collection(at, [f"{at}/{i}" for i in range(len(SUPPLY_W) + 1)])}
    for i, input_w in enumerate(SUPPLY_W):
        made[f"{at}/{i}"] = resource("PowerSupply.v1_5_0.PowerSupply", f"{at}/{i}", Status=ENABLED, Metrics=link(f"{at}/{i}/Metrics"))
        made[f"{at}/{i}/Metrics"] = resource(
            "PowerSupplyMetrics.v1_1_0.PowerSupplyMetrics", f"{at}/{i}/Metrics", InputPowerWatts={"Reading": input_w}
        )
    empty = f"{at}/{len(SUPPLY_W)}"
    return made | {empty: resource("PowerSupply.v1_5_0.PowerSupply", empty, Status={"State": "Absent"})}


def _fans(at: str) -> Tree:
    made = {at: collection(at, [f"{at}/{i}" for i in range(len(FAN_RPM))])}
    for i, rpm in enumerate(FAN_RPM):
        made[f"{at}/{i}"] = resource("Fan.v1_5_0.Fan", f"{at}/{i}", Status=ENABLED, SpeedPercent={"Reading": 50, "SpeedRPM": rpm})
    return made


def _before() -> Tree:
    supplies = [{"MemberId": str(i), "Status": ENABLED, "PowerInputWatts": input_w} for i, input_w in enumerate(SUPPLY_W)]
    return {
        f"{NODE}/Power": resource(
            "Power.v1_5_0.Power", f"{NODE}/Power", PowerSupplies=[*supplies, {"MemberId": "2", "Status": {"State": "Absent"}}],
            PowerControl=[
                {"MemberId": "0", "PowerConsumedWatts": CHASSIS_W, "PowerLimit": {"LimitInWatts": LIMIT_W}},
                {"MemberId": "1", "Name": "Memory", "PowerConsumedWatts": 120},
            ],
        ),
        f"{NODE}/Thermal": resource(
            "Thermal.v1_6_0.Thermal", f"{NODE}/Thermal",
            Fans=[{"MemberId": str(i), "Status": ENABLED, "Reading": rpm, "ReadingUnits": "RPM"} for i, rpm in enumerate(FAN_RPM)],
            Temperatures=[
                {"MemberId": "0", "PhysicalContext": "CPU", "ReadingCelsius": 61},
                {"MemberId": "1", "PhysicalContext": "Intake", "ReadingCelsius": INTAKE_CELSIUS},
            ],
        ),
    }


def sensor(name: str, context: str, celsius: float) -> dict[str, Any]:
    at = f"{NODE}/Sensors/{name}"
    return resource("Sensor.v1_7_0.Sensor", at, ReadingType="Temperature", PhysicalContext=context, Reading=celsius, ReadingUnits="Cel")


def resource(kind: str, at: str, **members: Any) -> dict[str, Any]:
    return {"@odata.id": at, "@odata.type": f"#{kind}", "Id": at.rpartition("/")[2], "Name": at.rpartition("/")[2], **members}


def collection(at: str, members: list[str]) -> dict[str, Any]:
    return resource("Collection", at, Members=[link(member) for member in members])


def link(to: str) -> dict[str, str]:
    return {"@odata.id": to}
