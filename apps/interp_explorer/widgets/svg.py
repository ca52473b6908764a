"""A button that saves a figure above it as SVG, made in the browser.

The figure's own bar has a camera that does so, but it is seen only when pointed at.
"""

from streamlit.components.v2 import component


HTML = """
<button type="button" title="As it is shown above"></button>
"""
CSS = """
button {
  font: inherit;
  font-size: 0.875rem;
  color: var(--st-text-color);
  background: var(--st-background-color);
  border: 1px solid var(--st-border-color);
  border-radius: var(--st-button-radius, 0.5rem);
  padding: 0.25rem 0.75rem;
  min-height: 2.5rem;
  cursor: pointer;
}
button:hover, button:focus-visible {
  color: var(--st-primary-color);
  border-color: var(--st-primary-color);
}
"""
JS = """
export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button");
  button.textContent = data.label;
  button.onclick = () => {
    const root = parentElement.getRootNode();
    const here = root.host ?? parentElement;
    const above = [...document.querySelectorAll(".js-plotly-plot")].filter(
      (plot) =>
        here.compareDocumentPosition(plot) & Node.DOCUMENT_POSITION_PRECEDING,
    );
    const bar = above.at(-1 - data.above)?.querySelector(".modebar");
    const camera = bar?.querySelector("[data-title^='Download plot']");
    camera?.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  };
}
"""


def svg_button(label: str, *, key: str, above: int = 0) -> None:
    """Draw the button.

    Args:
        label: What it says, in our own words.
        key: The key of its widget.
        above: How many figures stand between the button and the one that is meant.
    """
    _BUTTON(key=key, data={"label": label, "above": above})


_BUTTON = component("interp_svg_button", html=HTML, css=CSS, js=JS)
