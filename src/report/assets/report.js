"use strict";
// Turns each static picture into an interactive plot: zoom, logarithmic axes, values at the
// pointer, series that can be shown and hidden, downloads. All text is inserted as text, never as
// markup; the numbers come from the page's data.
var nplus1 = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const plots = {};
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const color = (index) => css("--c" + (index % 8));

  // Formats a number with at most six significant digits, as the static pictures do.
  const short = (value) => {
    if (value === 0 || value == null) return value === 0 ? "0" : "";
    const size = Math.abs(value);
    if (size < 1e-3 || size >= 1e6) {
      const [digits, power] = value.toExponential(2).split("e");
      return parseFloat(digits) + "e" + Number(power);
    }
    return String(parseFloat(value.toPrecision(6)));
  };
  const written = (value, unit) => {
    if (value == null) return "";
    if (unit === "fraction") return short(100 * value) + " %";
    if (unit !== "seconds") return short(value);
    const size = Math.abs(value);
    for (const [scale, prefix] of [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]]) {
      if (size >= 0.999999 * scale) return short(value / scale) + " " + prefix;
    }
    return short(value) + " s";
  };
  // Formats the exact value of the file, followed by its readable form if the unit has one.
  const exact = (value, unit) => {
    if (value == null) return "–";
    return unit === "number" || unit === "whole" ? String(value) : String(value) + " (" + written(value, unit) + ")";
  };

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const save = (name, blob) => {
    const address = URL.createObjectURL(blob);
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  };

  // The dash pattern: dashes for predictions, dots for measurements whose color is used a second
  // time.
  const dash = (series) => (series.mark === "dashed" ? [7, 5] : series.color >= 8 ? [2, 3] : undefined);
  // Draws the sample of a group of series for the legend.
  const sample = (canvas, group) => {
    const ratio = devicePixelRatio || 1;
    canvas.width = 26 * ratio;
    canvas.height = 10 * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.lineWidth = 2;
    for (const series of group) {
      pen.strokeStyle = pen.fillStyle = color(series.color);
      if (series.mark !== "dots") {
        pen.setLineDash(dash(series) || []);
        pen.beginPath();
        pen.moveTo(0, 5);
        pen.lineTo(26, 5);
        pen.stroke();
      }
      if (series.mark !== "dashed") {
        pen.beginPath();
        pen.arc(13, 5, 3, 0, 7);
        pen.fill();
      }
    }
  };

  // The index nearest to `index` at which a series has a value.
  const nearest = (values, index) => {
    if (index == null || values[index] != null) return index;
    for (let away = 1; away < values.length; away++) {
      if (values[index - away] != null) return index - away;
      if (values[index + away] != null) return index + away;
    }
    return index;
  };

  // The range of a logarithmic axis: a little wider than its values, and [0.1, 1] without values.
  const wide = (_, low, high) => {
    if (!(low > 0)) return [0.1, 1];
    const pad = Math.log(high / low) * 0.03 || 0.7;
    return [low * Math.exp(-pad), high * Math.exp(pad)];
  };
  // The range of an axis of fractions: ends at 0 if no value is below 0, and at 1 if none is above
  // 1.
  const share = (_, low, high) => {
    if (low == null) return [0, 1];
    const [from, to] = uPlot.rangeNum(low, high, 0.1, true);
    return [low >= 0 ? Math.max(from, 0) : from, high <= 1 ? Math.min(to, 1) : to];
  };
  // The ticks of a logarithmic axis: powers of ten, not too many; also 2 and 5 times them if few.
  const decades = (plot, axis, low, high) => {
    const room = axis === 0 ? plot.bbox.width / 64 : plot.bbox.height / 26;
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const every = Math.max(1, Math.ceil((last - first) / (room / (devicePixelRatio || 1))));
    const marks = [];
    for (let power = first; power <= last; power++) {
      if (power % every !== 0) continue;
      for (const step of last - first <= 3 ? [1, 2, 5] : [1]) marks.push(Number(step + "e" + power));
    }
    const within = marks.filter((mark) => mark >= low && mark <= high);
    return within.length > 1 ? within : even(low, high);
  };
  // The ticks of a logarithmic axis over less than a decade: evenly spaced, as on a linear axis.
  const even = (low, high) => {
    const raw = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((step) => step * power >= raw) * power;
    const first = Math.ceil(low / step);
    return Array.from({ length: 6 }, (_, place) => Number(((first + place) * step).toPrecision(12)))
      .filter((mark) => mark >= low && mark <= high);
  };
  const steps = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500].concat(
    Array.from({ length: 12 }, (_, power) => 10 ** (power + 3)));

  // Draws the plot of `figure` in `host`; `shell` has the legend and tools, which are made once.
  const draw = (figure, host, shell, zoom) => {
    const axis = (of, side) => ({
      label: of.label,
      labelSize: side === 3 ? 26 : 20,
      labelFont: "12px system-ui, sans-serif",
      font: "12px system-ui, sans-serif",
      stroke: css("--ink"),
      grid: { stroke: css("--faint"), width: 1 },
      ticks: { stroke: css("--faint"), width: 1 },
      values: (_, marks) => marks.map((mark) => written(mark, of.unit)),
      size: side === 3 ? 66 : 32,
      ...(of.log ? { splits: decades, filter: (_, marks) => marks } : {}),
      ...(of.unit === "whole" && !of.log ? { incrs: steps } : {}),
    });
    const scale = (of) => {
      if (of.log) return { time: false, distr: 3, log: 10, range: wide };
      return of.unit === "fraction" ? { time: false, range: share } : { time: false };
    };
    const points = figure.xs.length;
    const options = {
      width: Math.max(host.clientWidth, 240),
      height: host.clientWidth < 480 ? 260 : 340,
      legend: { show: false },
      focus: { alpha: 0.35 },
      scales: { x: scale(figure.x), y: scale(figure.y) },
      axes: [axis(figure.x, 2), axis(figure.y, 3)],
      cursor: {
        drag: { x: true, y: false, dist: 4 },
        focus: { prox: 24 },
        dataIdx: (plot, series, index) => (series === 0 ? index : nearest(plot.data[series], index)),
      },
      series: [{}].concat(
        figure.series.map((series) => ({
          label: series.label,
          scale: "y",
          show: series.shown,
          stroke: color(series.color),
          width: 2,
          dash: dash(series),
          spanGaps: true,
          paths: series.mark === "dots" ? () => null : undefined,
          // A single point makes no line, so it gets a dot.
          points: {
            show: series.mark === "dashed" ? series.y.filter((y) => y != null).length === 1 : points <= 400,
            size: 6, fill: color(series.color),
          },
        })),
      ),
      hooks: { setCursor: [(plot) => shell.read(plot)] },
    };
    const plot = new uPlot(options, [figure.xs, ...figure.series.map((series) => series.y)], host);
    if (zoom) plot.setScale("x", zoom);
    return plot;
  };

  // Adds a plot to a figure, with its legend, tools and keys.
  const show = (figure) => {
    const frame = document.getElementById(figure.id);
    const fixed = frame.querySelector(".static");
    const host = element("div", {
      class: "canvas", tabindex: "0", role: "group",
      "aria-label": figure.title + ": arrow keys read values, plus and minus zoom, shift and arrow keys move, 0 shows everything",
    });
    const where = element("p", { class: "where" });
    const announcement = element("output", { class: "where", "aria-live": "polite" });
    const legend = element("ul", { class: "legend" });
    const tools = element("div", { class: "tools", role: "group", "aria-label": "Tools of the figure " + figure.title });
    const others = element("ul", { class: "legend" });
    const more = element("details", { class: "more" }, element("summary"), others);
    const live = element("div", { class: "live" }, tools, host, where, legend, more, announcement);
    fixed.before(live);
    frame.classList.add("drawn");

    let plot;
    // The series of a group are shown, hidden and read together.
    const groups = new Map();
    figure.series.forEach((series, index) => groups.set(series.group, [...(groups.get(series.group) || []), index]));
    const entries = [...groups].map(([group, members]) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const output = element("span", { class: "value" });
      const groupSeries = members.map((index) => figure.series[index]);
      const name = element("bdi", { title: groupSeries.map((series) => series.label).join(" · ") }, group);
      const button = element("button", { type: "button", "aria-pressed": String(groupSeries[0].shown) }, canvas, name, output);
      button.addEventListener("click", () => {
        const shown = !groupSeries[0].shown;
        button.setAttribute("aria-pressed", String(shown));
        for (const index of members) {
          figure.series[index].shown = shown;
          plot.setSeries(index + 1, { show: shown });
        }
      });
      (groupSeries[0].shown ? legend : others).append(element("li", {}, button));
      return { canvas, output, members, groupSeries };
    });
    more.firstChild.textContent = "Show more lines (" + others.children.length + ")";
    more.hidden = others.children.length === 0;
    const values = (plot) => figure.series.map((series, index) => {
      const at = plot.cursor.idxs ? plot.cursor.idxs[index + 1] : null;
      return at == null || !series.shown ? null : [figure.xs[at], series.y[at]];
    });
    const shell = {
      read(plot) {
        const at = plot.cursor.idx;
        where.textContent = at == null ? "" : figure.x.label + ": " + exact(figure.xs[at], figure.x.unit);
        const readings = values(plot);
        for (const { output, members } of entries) {
          const texts = members.map((index) => readings[index]).filter(Boolean).map(([x, y]) => {
            const other = at != null && x !== figure.xs[at] ? " at " + written(x, figure.x.unit) : "";
            return exact(y, figure.y.unit) + other;
          });
          output.textContent = texts.join(" · ");
        }
      },
    };
    const redraw = (zoom) => {
      if (plot) plot.destroy();
      plot = draw(figure, host, shell, zoom);
      plots[figure.id] = plot;
      for (const { canvas, groupSeries } of entries) sample(canvas, groupSeries);
    };
    const limits = () => [plot.scales.x.min, plot.scales.x.max];
    // Zooms and shifts by shares of the axis as drawn: in logarithms if it is logarithmic.
    const zoomed = (factor, shift) => {
      const transform = figure.x.log ? [Math.log, Math.exp] : [(x) => x, (x) => x];
      const [low, high] = limits().map(transform[0]);
      const middle = (low + high) / 2 + shift * (high - low);
      const half = ((high - low) / 2) * factor;
      plot.setScale("x", { min: transform[1](middle - half), max: transform[1](middle + half) });
    };
    const whole = () => plot.setData(plot.data, true);
    let stepped = null;
    const step = (by) => {
      const from = plot.cursor.idx ?? stepped;
      const at = from == null ? (by > 0 ? 0 : figure.xs.length - 1) : from + by;
      if (at < 0 || at >= figure.xs.length) return;
      stepped = at;
      // If the point is outside the view, show everything.
      const [low, high] = limits();
      const x = figure.xs[at];
      if (x < low || x > high) whole();
      plot.setCursor({ left: plot.valToPos(x, "x"), top: 1 });
      const texts = figure.series.map((series) => {
        if (!series.shown) return null;
        const near = nearest(series.y, at);
        if (series.y[near] == null) return null;
        const other = near === at ? "" : " at " + written(figure.xs[near], figure.x.unit);
        return series.label + " " + exact(series.y[near], figure.y.unit) + other;
      });
      announcement.textContent = figure.x.label + " " + exact(figure.xs[at], figure.x.unit) + ": " + texts.filter(Boolean).join(", ");
    };
    const keys = {
      ArrowRight: (shift) => (shift ? zoomed(1, 0.2) : step(1)),
      ArrowLeft: (shift) => (shift ? zoomed(1, -0.2) : step(-1)),
      "+": () => zoomed(0.5, 0),
      "-": () => zoomed(2, 0),
      0: whole,
    };
    host.addEventListener("keydown", (event) => {
      const act = keys[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act(event.shiftKey);
    });
    // Zooms only with ctrl or ⌘, so that the wheel alone still scrolls the page.
    host.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoomed(event.deltaY > 0 ? 1.25 : 0.8, 0);
    }, { passive: false });

    const tool = (label, title, act) => {
      const button = element("button", { type: "button", title }, label);
      button.addEventListener("click", () => act(button));
      tools.append(button);
      return button;
    };
    for (const name of ["x", "y"]) {
      const positive = name === "x"
        ? figure.xs.every((x) => x > 0)
        : figure.series.every((series) => series.y.every((y) => y == null || y > 0));
      if (!positive) continue;
      const toggle = tool("log " + name, "Logarithmic " + name + " axis", (button) => {
        figure[name].log = !figure[name].log;
        button.setAttribute("aria-pressed", String(figure[name].log));
        redraw();
      });
      toggle.setAttribute("aria-pressed", String(figure[name].log));
    }
    tool("+", "Zoom in (or drag across the plot)", () => zoomed(0.5, 0));
    tool("−", "Zoom out", () => zoomed(2, 0));
    tool("◂", "Move left", () => zoomed(1, -0.2));
    tool("▸", "Move right", () => zoomed(1, 0.2));
    tool("all", "Show all (or double-click)", whole);
    const file = figure.title.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 60) || "figure";
    const picture = () => new XMLSerializer().serializeToString(fixed.querySelector("svg"));
    tool("SVG", "Save the picture as SVG", () => save(file + ".svg", new Blob([picture()], { type: "image/svg+xml" })));
    tool("PNG", "Save the picture as PNG", () => {
      const image = new Image();
      const [, , width, height] = fixed.querySelector("svg").getAttribute("viewBox").split(" ").map(Number);
      image.onload = () => {
        const canvas = element("canvas", { width: 2 * width, height: 2 * height });
        canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
        canvas.toBlob((blob) => save(file + ".png", blob));
        URL.revokeObjectURL(image.src);
      };
      image.width = width;
      image.height = height;
      image.src = URL.createObjectURL(new Blob([picture()], { type: "image/svg+xml" }));
    });
    tool("CSV", "Save the numbers", () => {
      const cell = (text) => '"' + String(text).replaceAll('"', '""') + '"';
      const header = [figure.x.label, ...figure.series.map((series) => series.label)].map(cell).join(",");
      const lines = figure.xs.map((x, row) => [x, ...figure.series.map((series) => series.y[row] ?? "")].join(","));
      save(file + ".csv", new Blob([[header, ...lines].join("\n") + "\n"], { type: "text/csv" }));
    });

    redraw();
    let width = host.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(host.clientWidth - width) < 2 || host.clientWidth === 0) return;
      width = host.clientWidth;
      plot.setSize({ width: Math.max(width, 240), height: width < 480 ? 260 : 340 });
    }).observe(host);
    dark.addEventListener("change", () => {
      const [min, max] = limits();
      redraw({ min, max });
    });
  };

  data.figures.forEach(show);
  return { data, plots, css, color, short, dark, decades, wide };
})();
