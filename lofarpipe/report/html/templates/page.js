"use strict";
// The sky images: scale, zoom, and coordinates under the pointer. Everything else of the page works without a script.
(() => {
  const LEVELS = 254, BLANK = 255, LINEAR_LOW = -4, LINEAR_HIGH = 16, MOST_ZOOM = 40, DEG = Math.PI / 180;
  // Seconds of time or arcsec between ticks, how many of these, how far labels are apart (parts of the edge), and the last.
  const RA_EDGE = { steps: [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600], most: 4.5, gap: 0.15, end: 0.92 };
  const DEC_EDGE = { steps: [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 72000], most: 7, gap: 0.08, end: 1 };
  const SAMPLES = 100;
  const skies = [];
  const view = { zoom: 1, x: 0.5, y: 0.5, scale: "asinh" };  // x, y: centre of the view, fractions of the picture

  // The flux of a grey level of the picture, Jy/beam.
  const fluxOf = (sky, grey) => grey === BLANK ? NaN : sky.softening_jy *
    Math.sinh(sky.lowest + (sky.highest - sky.lowest) * (LEVELS - grey) / LEVELS);

  // What each grey level of the picture is shown as; 0 is black, for the brightest.
  function shades(sky) {
    const shown = new Uint8ClampedArray(256).fill(255);
    const softening = 2 * sky.noise_jy, low = LINEAR_LOW * sky.noise_jy;
    const high = view.scale === "linear" ? LINEAR_HIGH * sky.noise_jy : fluxOf(sky, 0);
    const stretch = view.scale === "linear" ? flux => flux : flux => Math.asinh(flux / softening);
    for (let grey = 0; grey <= LEVELS; grey++) {
      const part = (stretch(fluxOf(sky, grey)) - stretch(low)) / (stretch(high) - stretch(low));
      shown[grey] = 255 * (1 - Math.min(1, Math.max(0, part)));
    }
    return shown;
  }

  function shade(sky) {
    const table = shades(sky), { greys, shaded: { data: out } } = sky;
    for (let pixel = 0, at = 0; pixel < greys.length; pixel++, at += 4) {
      const grey = greys[pixel];
      if (grey === BLANK) { out[at] = 214; out[at + 1] = 224; out[at + 2] = 236; }
      else out[at] = out[at + 1] = out[at + 2] = table[grey];
      out[at + 3] = 255;
    }
    sky.sheet.getContext("2d").putImageData(sky.shaded, 0, 0);
  }

  // Canvas pixels per picture pixel, and where the picture's corner is.
  function place(sky) {
    const scale = view.zoom * Math.min(sky.canvas.width / sky.width, sky.canvas.height / sky.height);
    return { scale, left: sky.canvas.width / 2 - view.x * sky.width * scale, top: sky.canvas.height / 2 - view.y * sky.height * scale };
  }

  function draw(sky) {
    const ratio = window.devicePixelRatio || 1;
    const side = Math.max(1, Math.round(sky.window.clientWidth * ratio));
    if (sky.canvas.width !== side) { sky.canvas.width = sky.canvas.height = side; }
    const context = sky.canvas.getContext("2d"), at = place(sky);
    context.fillStyle = "#eef1f6";
    context.fillRect(0, 0, sky.canvas.width, sky.canvas.height);
    context.imageSmoothingEnabled = at.scale < 3;
    context.imageSmoothingQuality = "high";
    context.drawImage(sky.sheet, at.left, at.top, sky.width * at.scale, sky.height * at.scale);
    if (sky.beam_deg) drawBeam(sky, context, at.scale, ratio);
    sky.window.classList.toggle("zoomed", view.zoom > 1);
    if (sky.is_sin) drawTicks(sky, at);
  }

  // Coordinates at the edges.
  function drawTicks(sky, at) {
    const parts = Array.from({ length: SAMPLES + 1 }, (_, place) => place / SAMPLES), { width, height } = sky.canvas;
    const here = (x, y) => skyAt(sky, (x - at.left) / at.scale * sky.factor + 0.5, (sky.height - (y - at.top) / at.scale) * sky.factor + 0.5);
    const across = unwrapped(parts.map(part => here(part * width, height)).map(place => place && place.ra * 240));
    const down = parts.map(part => here(0, part * height)).map(place => place && place.dec * 3600);
    const ra = (value, step) => sexagesimal((value % 86400 + 86400) % 86400, step, "hms");
    const dec = (value, step) => (value < 0 ? "−" : "+") + sexagesimal(Math.abs(value), step, "°′″");
    show(sky.figure.querySelector("svg.ra"), labelled(across, RA_EDGE, ra), tick => [{ x1: tick, x2: tick, y1: 0, y2: 5 }, { x: tick, y: 16 }]);
    show(sky.figure.querySelector("svg.dec"), labelled(down, DEC_EDGE, dec), tick => [{ x1: 65, x2: 70, y1: tick, y2: tick }, { x: 62, y: tick, dy: 4 }]);
  }

  // Right ascensions, seconds of time, without the jump at 24 h.
  function unwrapped(values) {
    let last = null;
    return values.map(value => {
      if (value !== null) last = last === null ? value : last + ((value - last + 43200) % 86400 + 86400) % 86400 - 43200;
      return value === null ? null : last;
    });
  }

  // Positions of round values along an edge, and labels without overlaps.
  function labelled(values, { steps, most, gap, end }, label) {
    const known = values.filter(value => value !== null), span = Math.max(...known) - Math.min(...known);
    const step = steps.find(one => span / one <= most) || steps[steps.length - 1], ticks = [];
    let last = -1;
    for (let place = 0; place + 1 < values.length; place++) {
      const before = values[place], after = values[place + 1], found = [];
      if (before === null || after === null || before === after) continue;
      for (let count = Math.ceil(Math.min(before, after) / step); count * step <= Math.max(before, after); count++)
        if (count * step !== after) found.push([(place + (count * step - before) / (after - before)) / SAMPLES, count * step]);
      for (const [part, value] of found.sort((one, other) => one[0] - other[0])) {
        const apart = part - last >= gap && part <= end;
        if (apart) last = part;
        ticks.push([part, value, apart ? label(value, step) : ""]);
      }
    }
    return ticks;
  }

  function sexagesimal(value, step, marks) {
    const two = number => String(number).padStart(2, "0");
    const texts = [Math.floor(value / 3600), Math.floor(value / 60) % 60, value % 60].map((number, place) => two(number) + marks[place]);
    return texts.slice(0, step % 3600 === 0 ? 1 : step % 60 === 0 ? 2 : 3).join("");
  }

  function show(edge, ticks, places) {
    const made = (name, attributes, text = "") => {
      const element = document.createElementNS(edge.namespaceURI, name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      element.textContent = text;
      return element;
    };
    edge.replaceChildren(...ticks.flatMap(([part, , label]) => {
      const [line, text] = places(`${(100 * part).toFixed(2)}%`, part);
      return label ? [made("line", line), made("text", text, label)] : [made("line", line)];
    }));
  }

  // Fluxes below the greys; a label near the end is aligned with its tick, to stay within the figure.
  function drawScale(sky) {
    const scale = sky.figure.querySelector(".scale");
    scale.dataset.scale = view.scale;
    show(scale.querySelector("g"), sky.scales[view.scale], (tick, part) => [{ x1: tick, x2: tick, y1: 10, y2: 14 }, { x: tick, y: 25, class: part > 0.92 ? "last" : "" }]);
  }

  // The restoring beam in the lower left corner, larger where it would not be seen, and then it says so.
  function drawBeam(sky, context, scale, ratio) {
    const perDegree = scale / (sky.factor * Math.abs(sky.increment_deg[1]));
    const smallest = 9 * ratio, length = sky.beam_deg[0] * perDegree;
    const larger = length < smallest ? Math.ceil(smallest / length) : 1;
    const major = length * larger, minor = sky.beam_deg[1] * perDegree * larger;
    const side = Math.min(sky.canvas.width / 2, Math.max(major * 1.4, 16 * ratio)), margin = 6 * ratio, base = sky.canvas.height - margin;
    context.fillStyle = "#ffffff"; context.strokeStyle = "#333333"; context.lineWidth = ratio;
    context.fillRect(margin, base - side, side, side);
    context.strokeRect(margin, base - side, side, side);
    context.save();
    context.beginPath(); context.rect(margin, base - side, side, side); context.clip();
    context.beginPath();
    // From north through east, which is to the left: anticlockwise on the screen, from upright.
    context.ellipse(margin + side / 2, base - side / 2, minor / 2, major / 2, -sky.beam_deg[2] * DEG, 0, 2 * Math.PI);
    context.fillStyle = "#c8102e"; context.fill();
    context.restore();
    if (larger > 1) {
      context.font = `${11 * ratio}px sans-serif`;
      const text = `beam, ${larger} × enlarged`, width = context.measureText(text).width;
      context.fillStyle = "rgba(255,255,255,0.85)";
      context.fillRect(margin + side + 3 * ratio, base - 15 * ratio, width + 6 * ratio, 15 * ratio);
      context.fillStyle = "#222222";
      context.fillText(text, margin + side + 6 * ratio, base - 4 * ratio);
    }
  }

  const drawAll = () => skies.forEach(draw);

  // Right ascension and declination (degrees, J2000) of an image pixel, counted from 1 as in FITS; the projection is SIN.
  function skyAt(sky, x, y) {
    const l = (x - sky.reference_pixel[0]) * sky.increment_deg[0] * DEG, m = (y - sky.reference_pixel[1]) * sky.increment_deg[1] * DEG;
    const n2 = 1 - l * l - m * m;
    if (!sky.is_sin || n2 < 0) return null;
    const n = Math.sqrt(n2), dec0 = sky.reference_deg[1] * DEG;
    const ra = sky.reference_deg[0] + Math.atan2(l, n * Math.cos(dec0) - m * Math.sin(dec0)) / DEG;
    return { ra: (ra % 360 + 360) % 360, dec: Math.asin(m * Math.cos(dec0) + n * Math.sin(dec0)) / DEG, distance: Math.atan2(Math.hypot(l, m), n) / DEG };
  }

  // An angle as units, minutes and seconds, rounded before it is split.
  function parts(value, decimals, marks) {
    const total = Math.round(Math.abs(value) * 3600 * 10 ** decimals), per = 60 * 10 ** decimals;
    const seconds = (total % per / 10 ** decimals).toFixed(decimals).padStart(3 + decimals - (decimals ? 0 : 1), "0");
    const two = number => String(number).padStart(2, "0");
    return two(Math.floor(total / per / 60)) + marks[0] + two(Math.floor(total / per) % 60) + marks[1] + seconds + marks[2];
  }

  function fluxText(flux, unit) {
    if (Number.isNaN(flux)) return "blank";
    const size = Math.abs(flux), [factor, prefix] = size >= 1 ? [1, ""] : size >= 1e-3 ? [1e3, "m"] : [1e6, "μ"];
    return `${(flux * factor).toPrecision(3)} ${prefix}${unit.toUpperCase() === "JY/BEAM" ? "Jy/beam" : unit}`;
  }

  function tell(sky, column, row) {
    const inside = column >= 0 && row >= 0 && column < sky.width && row < sky.height;
    if (!inside) { sky.readout.textContent = sky.silent; return; }
    // Where in the image the point of the picture is: its first row is at the bottom.
    const x = column * sky.factor + 0.5, y = (sky.height - row) * sky.factor + 0.5;
    const flux = fluxOf(sky, sky.greys[Math.floor(row) * sky.width + Math.floor(column)]);
    const at = skyAt(sky, x, y), lines = [];
    if (at) lines.push(`${parts(at.ra / 15, 1, ["h", "m", "s"])} ${at.dec < 0 ? "−" : "+"}${parts(at.dec, 0, ["°", "′", "″"])} J2000, ${at.distance.toFixed(2)}° from the centre`);
    lines.push(`${fluxText(flux, sky.unit)} at pixel ${Math.round(x)}, ${Math.round(y)}`);
    sky.readout.textContent = lines.join("; ");
  }

  function pointed(sky, event) {
    const box = sky.canvas.getBoundingClientRect(), at = place(sky), ratio = sky.canvas.width / box.width;
    return [((event.clientX - box.left) * ratio - at.left) / at.scale, ((event.clientY - box.top) * ratio - at.top) / at.scale];
  }

  function zoomBy(factor, x = view.x, y = view.y) {
    const zoom = Math.min(MOST_ZOOM, Math.max(1, view.zoom * factor)), kept = view.zoom / zoom;
    move(x + (view.x - x) * kept, y + (view.y - y) * kept, zoom);
  }

  function move(x, y, zoom) {
    const half = 0.5 / zoom, within = value => Math.min(1 - half, Math.max(half, value));
    view.zoom = zoom; view.x = within(x); view.y = within(y);
    drawAll();
  }

  function listen(sky) {
    const down = new Map();
    sky.window.addEventListener("pointerdown", event => { down.set(event.pointerId, event); sky.window.setPointerCapture(event.pointerId); });
    for (const kind of ["pointerup", "pointercancel"]) sky.window.addEventListener(kind, event => down.delete(event.pointerId));
    sky.window.addEventListener("pointermove", event => {
      const [column, row] = pointed(sky, event);
      skies.forEach(other => tell(other, column * other.width / sky.width, row * other.height / sky.height));
      const before = down.get(event.pointerId);
      if (!before) return;
      const fingers = [...down.values()], size = sky.window.getBoundingClientRect().width * view.zoom;
      if (fingers.length === 2) {
        const other = fingers.find(finger => finger.pointerId !== event.pointerId);
        const gap = finger => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
        if (gap(before) > 0) zoomBy(gap(event) / gap(before));
      } else if (view.zoom > 1) {
        move(view.x - (event.clientX - before.clientX) / size, view.y - (event.clientY - before.clientY) / size, view.zoom);
      }
      down.set(event.pointerId, event);
    });
    sky.window.addEventListener("pointerleave", () => skies.forEach(other => { other.readout.textContent = other.silent; }));
    sky.window.addEventListener("wheel", event => {
      if (!event.ctrlKey) return;  // the page scrolls
      event.preventDefault();
      const [column, row] = pointed(sky, event);
      zoomBy(Math.exp(-event.deltaY / 300), column / sky.width, row / sky.height);
    }, { passive: false });
    sky.window.addEventListener("keydown", event => {
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.key === "+") zoomBy(1.5);
      else if (event.key === "-") zoomBy(1 / 1.5);
      else if (steps && view.zoom > 1) { event.preventDefault(); move(view.x + 0.1 * steps[0] / view.zoom, view.y + 0.1 * steps[1] / view.zoom, view.zoom); }
    });
  }

  async function begin(numbers) {
    const figure = document.querySelector(`figure.sky[data-sky="${numbers.dataset.sky}"]`);
    const sky = { ...JSON.parse(numbers.textContent), figure, window: figure.querySelector(".window"), readout: figure.querySelector(".readout") };
    const picture = figure.querySelector("img.greys");
    await picture.decode();
    figure.querySelector("img.picture").hidden = true;
    figure.querySelector(".frame").hidden = false;
    sky.silent = sky.readout.textContent;
    sky.sheet = document.createElement("canvas");
    sky.sheet.width = sky.width; sky.sheet.height = sky.height;
    const context = sky.sheet.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    sky.shaded = context.getImageData(0, 0, sky.width, sky.height);
    sky.greys = new Uint8Array(sky.width * sky.height);
    for (let pixel = 0; pixel < sky.greys.length; pixel++) sky.greys[pixel] = sky.shaded.data[4 * pixel];
    sky.canvas = document.createElement("canvas");
    sky.window.append(sky.canvas);
    sky.window.classList.add("drawn-on");
    shade(sky);
    drawScale(sky);
    listen(sky);
    skies.push(sky);
    draw(sky);
  }

  for (const numbers of document.querySelectorAll("script.sky-numbers")) begin(numbers);
  const controls = document.getElementById("sky-controls");
  if (controls) {
    controls.addEventListener("change", event => { view.scale = event.target.value; skies.forEach(shade); skies.forEach(drawScale); drawAll(); });
    controls.addEventListener("submit", event => event.preventDefault());
    document.getElementById("zoom-in").addEventListener("click", () => zoomBy(1.5));
    document.getElementById("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
    document.getElementById("zoom-fit").addEventListener("click", () => move(0.5, 0.5, 1));
    window.addEventListener("resize", drawAll);
    window.addEventListener("beforeprint", drawAll);
  }

  for (const figure of document.querySelectorAll("figure.slices")) {
    const { labels, pictures } = JSON.parse(figure.querySelector("script").textContent);
    const slider = figure.querySelector("input"), shown = figure.querySelector("output");
    const show = () => {
      shown.textContent = labels[slider.value];
      for (const picture of figure.querySelectorAll("img")) {
        const text = pictures[picture.dataset.name][slider.value];
        picture.style.visibility = text ? "visible" : "hidden";
        if (text) picture.src = `data:image/png;${"base64"},${text}`;
      }
    };
    slider.addEventListener("input", show);
    show();
  }

  const failed = document.querySelectorAll("details.step.failed, details.job.failed"), opener = document.getElementById("open-failed");
  opener.hidden = failed.length === 0;
  opener.addEventListener("click", () => failed.forEach(details => { details.open = true; }));
  document.getElementById("close-all").addEventListener("click", () => document.querySelectorAll("#steps details").forEach(details => { details.open = false; }));
})();
