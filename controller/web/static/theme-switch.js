const system = matchMedia("(prefers-color-scheme: dark)");

// The button overrules the system's wish, in this browser, until pressed back.
export function watchTheme(button, onChange) {
  const root = document.documentElement;
  const now = () => root.dataset.theme ?? (system.matches ? "dark" : "light");
  button.addEventListener("click", () => {
    const wanted = now() === "dark" ? "light" : "dark";
    const isSystems = wanted === (system.matches ? "dark" : "light");
    if (isSystems) {
      delete root.dataset.theme;
      localStorage.removeItem("theme");
    } else {
      root.dataset.theme = wanted;
      localStorage.setItem("theme", wanted);
    }
    onChange();
  });
  system.addEventListener("change", onChange);
}
