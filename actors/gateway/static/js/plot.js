// Line plots as SVG: axes with round numbers, a mark, and the values under the pointer or the arrow keys.

const NAMESPACE = "http://www.w3.org/2000/svg";
const SIZE = { least: 280, height: 230, left: 54, right: 26, top: 14, bottom: 26 };

function shape(name, attributes, ...children) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Three to seven round numbers between `low` and `high`. */
export function ticks(low, high) {
  const rough = (high - low) / 5 || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * unit).find((size) => size >= rough);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n++) found.push(n * step + 0); // no -0
  return found;
}

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });

function range(values, padding) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const more = (high - low || Math.abs(high) || 1) * padding;
  return [low - more, high + more];
}

/**
 * Draws into the element `at`. `series` are `{name, points: [[x, y], ..]}` with the same x, ascending; `marks`
 * are `{x, name}`; `title` says what it is; `format(x)` and `value(y)` write the numbers of the reading line.
 */
export function plot(at, { series, marks = [], title, format = compact.format, value = compact.format }) {
  const points = series[0].points;
  if (points.length < 2) {
    at.replaceChildren();
    return;
  }
  const [left, right] = range(points.map(([x]) => x), 0);
  const [low, high] = range(series.flatMap((one) => one.points.map(([, y]) => y)), 0.06);
  const { height } = SIZE;
  const width = Math.max(at.clientWidth, SIZE.least);
  const across = (x) => SIZE.left + ((x - left) / (right - left)) * (width - SIZE.left - SIZE.right);
  const up = (y) => height - SIZE.bottom - ((y - low) / (high - low)) * (height - SIZE.top - SIZE.bottom);
  const line = (one) => one.points.map(([x, y], i) => `${i ? "L" : "M"}${across(x).toFixed(1)} ${up(y).toFixed(1)}`);

  const svg = shape("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: 0 });
  svg.append(shape("title", {}, title));
  for (const y of ticks(low, high)) {
    svg.append(shape("line", { class: y ? "axis" : "zero", x1: SIZE.left, x2: width - SIZE.right, y1: up(y), y2: up(y) }));
    svg.append(shape("text", { x: SIZE.left - 8, y: up(y) + 4, "text-anchor": "end" }, compact.format(y)));
  }
  for (const x of ticks(left, right))
    svg.append(shape("text", { x: across(x), y: height - 6, "text-anchor": "middle" }, format(x)));
  for (const [place, mark] of marks.filter(({ x }) => x >= left && x <= right).entries()) {
    svg.append(shape("line", { class: "mark", x1: across(mark.x), x2: across(mark.x), y1: SIZE.top, y2: height - SIZE.bottom }));
    svg.append(shape("text", { x: across(mark.x) + 4, y: height - SIZE.bottom - 6 - 13 * place }, mark.name));
  }
  const floor = up(Math.max(low, Math.min(high, 0)));
  const area = `${line(series[0]).join("")}L${across(right)} ${floor}L${across(left)} ${floor}Z`;
  svg.append(shape("path", { class: "area", d: area }));
  const lines = shape("g", {});
  for (const one of series) lines.append(shape("path", { class: "series", d: line(one).join("") }));
  svg.append(lines);

  const dot = shape("circle", { r: 4, visibility: "hidden" });
  const reading = shape("text", { x: width - SIZE.right, y: SIZE.top - 3, "text-anchor": "end", "aria-live": "polite" });
  svg.append(dot, reading);
  let current = points.length >> 1;
  const read = (index) => {
    current = Math.max(0, Math.min(points.length - 1, index));
    const [x, y] = points[current];
    dot.setAttribute("cx", across(x));
    dot.setAttribute("cy", up(y));
    dot.setAttribute("visibility", "visible");
    const said = series.map((one) => `${one.name} ${value(one.points[current][1])}`).join("   ");
    reading.textContent = `${format(x)}:  ${said}`;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = left + (((event.clientX - box.left) * width) / box.width - SIZE.left) * ((right - left) / (width - SIZE.left - SIZE.right));
    read(points.reduce((best, [other], i) => (Math.abs(other - x) < Math.abs(points[best][0] - x) ? i : best), 0));
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      read(current + step);
      event.preventDefault();
    }
  });
  at.replaceChildren(svg);
}
