import { byId, make } from "./dom.js";
import { span } from "./format.js";
import { comparison, trendPicture } from "./trend.js";

let shown = "";

export function showFindings(snapshot) {
  const { findings, findings_left_out: leftOut, cluster } = snapshot;
  const resolved = findings.filter((one) => !one.firing).length;
  byId("finding-count").textContent = [
    `${cluster.firing_count} firing`, resolved && `${resolved} resolved`, leftOut && `${leftOut} not shown`,
  ].filter(Boolean).join(", ");
  const key = JSON.stringify(findings) + Math.floor(cluster.unix_s / 10);
  if (key === shown) return;
  shown = key;
  const items = findings.map((finding) => item(finding, cluster.unix_s));
  byId("findings").replaceChildren(...(items.length ? items : [make("li", { class: "none quiet" }, "Nothing found. The detector has no complaint.")]));
}

function item(finding, nowS) {
  const since = finding.firing
    ? `for ${span(nowS - finding.since_unix_s)}`
    : `resolved ${span(nowS - finding.updated_unix_s)} ago`;
  return make(
    "li",
    { class: `finding ${finding.firing ? finding.severity : "resolved"}` },
    make(
      "div",
      { class: "what" },
      make("span", { class: "severity" }, finding.firing ? finding.severity : "resolved"),
      make("b", { class: "subject" }, finding.subject),
      make("span", { class: "quiet", title: `gpuwarden explain finding ${finding.id}` }, finding.kind),
      make("span", { class: "when quiet" }, since),
    ),
    make("div", {}, finding.summary),
    ...(finding.firing ? details(finding) : []),
    finding.firing && finding.suggested_action ? make("div", { class: "suggested" }, finding.suggested_action) : "",
  );
}

function details({ trend, evidence }) {
  const compared = evidence.filter(({ seen, expected }) => seen !== null && expected !== null);
  const plain = evidence.filter((one) => !compared.includes(one));
  return [
    trend ? trendPicture(trend) : "",
    compared.length ? make("ul", { class: "evidence compared quiet" }, ...compared.map(comparison)) : "",
    plain.length ? make("div", { class: "evidence quiet" }, plain.map(({ said }) => said).join(" · ")) : "",
  ];
}
