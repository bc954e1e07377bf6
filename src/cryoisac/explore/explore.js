"use strict";
const page = document.documentElement;
const known = JSON.parse(document.getElementById("data").textContent);
const card = document.getElementById("card");
const buttons = Array.from(document.querySelectorAll(".legend button"));
const SIDE = 600, REACH = 14; // of a plane, and how near to a point one has to point, on the screen
const NOTHING = -1;
let colouring = "class", pinned = NOTHING, passing = NOTHING, point = NOTHING, waiting = false;

const members = known.number.map(() => []);
known.label.forEach((label, i) => members[label].push(i));

const planes = Array.from(document.querySelectorAll("[data-plane]"), (figure) => {
  const drawing = figure.querySelector(".plane").dataset;
  const [scale, left, top] = [drawing.scale, drawing.left, drawing.top].map(Number);
  return {
    stage: figure.querySelector(".stage"),
    canvas: figure.querySelector("canvas"),
    dot: parseFloat(figure.querySelector(".plane").style.getPropertyValue("--dot")),
    places: known[figure.dataset.plane].map(([x, y]) => [left + scale * x, top - scale * y]),
  };
});

function colourOf(i) {
  if (colouring === "none") return getComputedStyle(page).getPropertyValue("--accent");
  const label = colouring === "truth" ? known.view[i] : known.label[i];
  return label < 0 ? getComputedStyle(page).getPropertyValue("--rest") : known.colours[colouring][label];
}

function lit() {
  return passing !== NOTHING ? passing : pinned;
}

function draw() {
  waiting = false;
  const label = lit();
  page.classList.toggle("lit", label !== NOTHING);
  for (const plane of planes) {
    const side = plane.stage.clientWidth * devicePixelRatio;
    plane.canvas.width = plane.canvas.height = side;
    const pen = plane.canvas.getContext("2d");
    pen.scale(side / SIDE, side / SIDE);
    pen.globalAlpha = 0.9;
    for (const i of label === NOTHING ? [] : members[label]) {
      pen.fillStyle = colourOf(i);
      pen.beginPath();
      pen.arc(...plane.places[i], plane.dot / 2 + 0.4, 0, 7);
      pen.fill();
    }
    if (point !== NOTHING) {
      pen.lineWidth = 2.5;
      pen.strokeStyle = getComputedStyle(page).getPropertyValue("--ink");
      pen.beginPath();
      pen.arc(...plane.places[point], plane.dot / 2 + 5, 0, 7);
      pen.stroke();
    }
  }
  buttons.forEach((button, c) => {
    button.classList.toggle("shown", c === label);
    button.setAttribute("aria-pressed", String(c === pinned));
  });
}

function later() {
  if (!waiting) requestAnimationFrame(draw);
  waiting = true;
}

function show(label, i, x, y) {
  [passing, point] = [label, i];
  card.hidden = i === NOTHING;
  if (i !== NOTHING) fill(i, x, y);
  later();
}

function fill(i, x, y) {
  const label = known.label[i], size = known.picture;
  const [before, after, average] = card.querySelectorAll("canvas");
  const across = Math.ceil(Math.sqrt(known.label.length));
  for (const [canvas, key] of [[before, "before"], [after, "after"]]) {
    canvas.width = canvas.height = size;
    const sheet = document.getElementById("sheet-" + key);
    canvas.getContext("2d").drawImage(sheet, (i % across) * size, Math.floor(i / across) * size, size, size, 0, 0, size, size);
  }
  const picture = buttons[label].querySelector("img");
  average.width = average.height = picture.naturalWidth;
  average.getContext("2d").drawImage(picture, 0, 0);
  const truth = known.truth ? (known.truth[i] < 0 ? ", truth unknown" : ", truth " + known.truth[i]) : "";
  card.querySelector("p").textContent =
    "Particle " + known.index[i] + ", class " + known.number[label] + " of " + known.sizes[label] + " members" + truth;
  const left = x + 18 + card.offsetWidth > innerWidth ? x - 18 - card.offsetWidth : x + 18;
  const top = y + 18 + card.offsetHeight > innerHeight ? y - 18 - card.offsetHeight : y + 18;
  card.style.left = Math.max(4, Math.min(left, innerWidth - card.offsetWidth - 4)) + "px";
  card.style.top = Math.max(4, top) + "px";
}

function nearest(plane, event) {
  const box = plane.stage.getBoundingClientRect(), scale = box.width / SIDE;
  const x = (event.clientX - box.left) / scale, y = (event.clientY - box.top) / scale;
  let best = NOTHING, least = (REACH / scale) ** 2;
  const among = pinned === NOTHING ? plane.places.keys() : members[pinned];
  for (const i of among) {
    const far = (plane.places[i][0] - x) ** 2 + (plane.places[i][1] - y) ** 2;
    if (far < least) [best, least] = [i, far];
  }
  return best;
}

function pin(label) {
  pinned = pinned === label ? NOTHING : label;
  later();
}

function step(plane, by) {
  const row = lit() === NOTHING ? Array.from(known.label.keys()) : members[lit()];
  const i = row[(row.indexOf(point) + by + row.length) % row.length] ?? row[0];
  const box = plane.stage.getBoundingClientRect(), scale = box.width / SIDE;
  show(known.label[i], i, box.left + plane.places[i][0] * scale, box.top + plane.places[i][1] * scale);
}

page.classList.add("live");
for (const plane of planes) {
  const at = (event) => {
    const i = nearest(plane, event);
    show(i === NOTHING ? NOTHING : known.label[i], i, event.clientX, event.clientY);
    return i;
  };
  plane.stage.addEventListener("pointermove", at);
  plane.stage.addEventListener("pointerleave", () => show(NOTHING, NOTHING));
  plane.stage.addEventListener("blur", () => show(NOTHING, NOTHING));
  plane.stage.addEventListener("click", (event) => {
    const i = at(event);
    if (i !== NOTHING) pin(known.label[i]);
    else if (pinned !== NOTHING) pin(pinned);
  });
  plane.stage.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by) step(plane, by);
    if (by) event.preventDefault();
    if (event.key === "Enter" && point !== NOTHING) pin(known.label[point]);
  });
}
buttons.forEach((button, c) => {
  button.addEventListener("pointerenter", () => show(c, NOTHING));
  button.addEventListener("pointerleave", () => show(NOTHING, NOTHING));
  button.addEventListener("focus", () => show(c, NOTHING));
  button.addEventListener("blur", () => show(NOTHING, NOTHING));
  button.addEventListener("click", () => pin(c));
});
document.querySelectorAll("input[name=colour]").forEach((choice) => {
  const take = () => {
    colouring = choice.value;
    for (const kind of ["class", "truth", "none"]) page.classList.toggle("by-" + kind, kind === colouring);
    later();
  };
  choice.addEventListener("change", take);
  if (choice.checked) take();
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  pinned = NOTHING;
  show(NOTHING, NOTHING);
});
addEventListener("resize", later);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later);
