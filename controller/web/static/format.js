export function watts(powerW) {
  if (powerW === null || powerW === undefined) return "–";
  const size = Math.abs(powerW);
  if (size < 999.5) return `${powerW.toFixed(0)} W`;
  if (size < 999950) return `${(powerW / 1e3).toFixed(1)} kW`;
  return `${(powerW / 1e6).toFixed(2)} MW`;
}

export function percent(ratio) {
  return ratio === null || !Number.isFinite(ratio) ? "–" : `${Math.round(ratio * 100)} %`;
}

// No line ends before a unit.
export const unbroken = (sentence) => sentence.replace(/(\d) (?=[kM]?W\b|%)/g, "$1\u00a0");

export function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

const MINUTE = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export const minute = (unixS) => MINUTE.format(unixS * 1000);

// A line from before the controller knew the time has none.
export const clock = (unixS) => (unixS ? TIME.format(unixS * 1000) : "at start");
