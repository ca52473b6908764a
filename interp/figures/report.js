// Draws the figures of a report and follows the reader's light or dark setting.
(() => {
  const style = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clear = "rgba(0,0,0,0)";

  const theme = (layout) => {
    const set = {
      paper_bgcolor: clear,
      plot_bgcolor: clear,
      "font.color": style("--text"),
      "font.family": style("--sans"),
      "hoverlabel.bgcolor": style("--raised"),
      "hoverlabel.bordercolor": style("--line"),
      "hoverlabel.font.color": style("--text"),
    };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        set[key + ".gridcolor"] = style("--line");
        set[key + ".linecolor"] = style("--line");
      }
    }
    return set;
  };

  const plots = [...document.querySelectorAll(".plot")].map((element) => {
    const figure = JSON.parse(element.querySelector("script").textContent);
    element.replaceChildren();
    figure.layout.autosize = true;
    // Fixed axes let a finger scroll the page over a figure.
    const touch = matchMedia("(pointer: coarse)").matches;
    if (touch) figure.layout.dragmode = false;
    return { element, figure };
  });

  const nested = (flat) => {
    const tree = {};
    for (const [path, value] of Object.entries(flat)) {
      const keys = path.split(".");
      const last = keys.pop();
      let place = tree;
      for (const key of keys) place = place[key] ??= {};
      place[last] = value;
    }
    return tree;
  };

  const merge = (into, from) => {
    for (const [key, value] of Object.entries(from)) {
      if (value && typeof value === "object" && into[key]) merge(into[key], value);
      else into[key] = value;
    }
    return into;
  };

  const config = { responsive: true, displaylogo: false, displayModeBar: "hover" };
  config.modeBarButtonsToRemove = ["lasso2d", "select2d", "autoScale2d"];
  config.toImageButtonOptions = { format: "svg" };

  for (const { element, figure } of plots) {
    merge(figure.layout, nested(theme(figure.layout)));
    for (const trace of figure.data) {
      if (trace.error_x) trace.error_x.color = style("--text");
    }
    Plotly.newPlot(element, figure.data, figure.layout, config);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const { element, figure } of plots) {
      const whiskers = figure.data.flatMap((trace, i) => (trace.error_x ? [i] : []));
      if (whiskers.length) {
        Plotly.restyle(element, { "error_x.color": style("--text") }, whiskers);
      }
      Plotly.relayout(element, theme(figure.layout));
    }
  });
})();
