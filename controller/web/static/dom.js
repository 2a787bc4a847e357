// Text only ever goes into text nodes: what a node calls itself is never read as markup.

export const byId = (id) => document.getElementById(id);

export const make = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);

// Of a picture.
export const draw = (tag, attributes, ...children) => filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function filled(element, attributes = {}, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== ""));
  return element;
}

// A row of buttons of which one is pressed. `options` are [value, label].
export function choice(parent, options, chosen, onChoose) {
  const buttons = options.map(([value, label]) => {
    const button = make("button", { type: "button", "aria-pressed": String(value === chosen) }, label);
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      onChoose(value);
    });
    return button;
  });
  parent.replaceChildren(...buttons);
}

// The colour that a custom property comes to in the theme of the moment; a canvas knows no properties.
export function colour(property) {
  const probe = make("span", { hidden: true });
  probe.style.color = `var(${property})`;
  document.body.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}
