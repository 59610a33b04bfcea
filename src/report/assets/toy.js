"use strict";
// The sliders of z = b·σ(a·x), which update the values of each method and two plots.
(() => {
  const start = nplus1.data.toy;
  const sigma = (p) => (p >= 0 ? 1 / (1 + Math.exp(-p)) : Math.exp(p) / (1 + Math.exp(p)));
  const value = (a, b, x) => b * sigma(a * x);
  const sliders = ["a", "b", "x", "epsilon"].map((name) => document.getElementById("toy-" + name));
  const outputs = sliders.map((slider) => document.getElementById(slider.id + "-value"));
  const rows = [...document.querySelectorAll("#toy-values tbody tr")];

  // The current numbers. A slider has steps, so until it is moved, the exact given number is kept.
  const now = { a: start.a, b: start.b, x: start.x, epsilon: start.epsilon };

  const exact = ({ a, b, x }) => {
    const y = sigma(a * x);
    return [b * y * sigma(-a * x) * x, y];
  };
  // Number of columns before the values: the counts of operations.
  const OPERATION_COLUMNS = 4;
  // The methods, in the order of the table; each returns [∂z/∂a, ∂z/∂b].
  const methods = [
    exact,
    ({ a, b, x, epsilon: h }) => {
      const z = value(a, b, x);
      return [(value(a + h, b, x) - z) / h, (value(a, b + h, x) - z) / h];
    },
    ({ a, b, x, epsilon: h }) => [
      (value(a + h, b, x) - value(a - h, b, x)) / (2 * h),
      (value(a, b + h, x) - value(a, b - h, x)) / (2 * h),
    ],
    ({ a, b, x, epsilon: h }) => {
      const u = Math.exp(-a * x);
      const y = 1 / (1 + u);
      return [(b / (1 + u * Math.exp(-h * x)) - b * y) / h, y];
    },
    ({ a, b, x, epsilon: h }) => {
      const u = Math.exp(-a * x);
      const y = 1 / (1 + u);
      return [(b / (1 + u * Math.exp(-h * x)) - b * y) / h, y];
    },
  ];
  const precise = (number) => (Number.isFinite(number) ? String(parseFloat(number.toPrecision(6))) : "–");
  const rough = (number) => (number === 0 ? "0" : number.toExponential(0));

  const increments = [];
  for (let power = 0; power >= -15; power -= 0.125) increments.unshift(10 ** power);

  const options = (host, axes, series, scales) => {
    const axis = (label, index) => ({
      label, labelSize: 22, size: 48, stroke: nplus1.css("--ink"),
      font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif",
      grid: { stroke: nplus1.css("--faint"), width: 1 }, ticks: { stroke: nplus1.css("--faint"), width: 1 },
      values: (_, marks) => marks.map((mark) => nplus1.short(mark)),
      ...((index === 0 ? scales.x : scales.y).distr === 3 ? { splits: nplus1.decades, filter: (_, marks) => marks } : {}),
    });
    return {
      width: Math.max(host.clientWidth, 220), height: 250, legend: { show: true, live: false },
      cursor: { drag: { x: false, y: false } }, scales,
      axes: axes.map(axis),
      series: [{}].concat(series.map(([label, index, dots, dashed]) => ({
        label, stroke: nplus1.color(index), width: 2, dash: dashed ? [6, 5] : undefined, spanGaps: true,
        paths: dots ? () => null : undefined,
        points: { show: Boolean(dots), size: 9, fill: nplus1.color(index) },
      }))),
    };
  };

  let curve, error;
  const curves = () => {
    const { a, b, x, epsilon: h } = now;
    const slope = exact(now)[0];
    const secant = methods[1](now)[0];
    const as = Array.from({ length: 121 }, (_, place) => a - 6 + place / 10);
    const z = value(a, b, x);
    return [as, as.map((at) => value(at, b, x)), as.map((at) => z + slope * (at - a)),
      as.map((at) => z + secant * (at - a)), as.map((at) => (Math.abs(at - a) < 1e-9 ? z : null))];
  };
  const errors = () => {
    const slope = exact(now)[0];
    const errorAt = (method, h) => {
      const error = Math.abs(methods[method]({ ...now, epsilon: h })[0] - slope);
      return error > 0 && Number.isFinite(error) ? error : null;
    };
    // The plotted increment nearest to the current one.
    const current = Math.abs(now.epsilon);
    const at = increments.reduce((best, h) => (Math.abs(Math.log(h / current)) < Math.abs(Math.log(best / current)) ? h : best), 1);
    return [increments, increments.map((h) => errorAt(1, h)), increments.map((h) => errorAt(2, h)),
      increments.map((h) => (h === at ? errorAt(1, h) : null))];
  };
  const draw = () => {
    const [left, right] = [document.getElementById("toy-curve"), document.getElementById("toy-error")];
    if (curve) curve.destroy();
    if (error) error.destroy();
    // The first call removes the static pictures.
    left.replaceChildren();
    right.replaceChildren();
    curve = new uPlot(options(left, ["a", "z"], [["z", 0], ["tangent", 2, false, true], ["secant", 1, false, true], ["current a", 3, true]],
      { x: { time: false }, y: { range: (_, low, high) => {
        const reach = Math.max(Math.abs(now.b), 0.1);
        return [Math.min(-0.2 * reach, 1.2 * Math.min(now.b, 0)), Math.max(0.2 * reach, 1.2 * Math.max(now.b, 0))];
      } } }), curves(), left);
    error = new uPlot(options(right, ["ε", "error"], [["forward", 1], ["central", 6], ["current ε", 3, true]],
      { x: { time: false, distr: 3, range: nplus1.wide }, y: { distr: 3, range: nplus1.wide } }), errors(), right);
  };
  const showNumbers = () => {
    outputs[0].textContent = precise(now.a);
    outputs[1].textContent = precise(now.b);
    outputs[2].textContent = precise(now.x);
    outputs[3].textContent = "ε = " + nplus1.short(now.epsilon);
  };
  const update = () => {
    const [slope, y] = exact(now);
    methods.forEach((method, row) => {
      const cells = rows[row].querySelectorAll("td");
      const [da, db] = method(now);
      [precise(da), rough(Math.abs(da - slope)), precise(db), rough(Math.abs(db - y))].forEach((text, column) => {
        cells[OPERATION_COLUMNS + column].textContent = text;
      });
    });
    showNumbers();
    curve.setData(curves());
    error.setData(errors());
  };
  sliders.forEach((slider, index) => {
    slider.addEventListener("input", () => {
      const number = Number(slider.value);
      now[["a", "b", "x", "epsilon"][index]] = index === 3 ? 10 ** number : number;
      update();
    });
  });
  draw();
  // The table already has the computed numbers of the page.
  showNumbers();
  const redraw = () => { draw(); showNumbers(); };
  nplus1.dark.addEventListener("change", redraw);
  let width = document.getElementById("toy-curve").clientWidth;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 2) return;
    width = entry.contentRect.width;
    redraw();
  }).observe(document.getElementById("toy-curve"));
  nplus1.toy = { now, update, get curve() { return curve; }, get error() { return error; } };
})();
