"use strict";
const page = document.documentElement;
const sheet = document.querySelector(".sheet");
const enlarged = document.getElementById("enlarged");

function sortBy(key) {
  const down = key === "members";
  const tiles = Array.from(sheet.children);
  tiles.sort((a, b) => (down ? b.dataset[key] - a.dataset[key] : a.dataset[key] - b.dataset[key]) || a.dataset.class - b.dataset.class);
  sheet.append(...tiles);
  page.classList.toggle("by-order", key === "order");
}

function enlarge(tile) {
  const shown = Array.from(tile.querySelectorAll("img")).find((image) => image.offsetParent !== null);
  enlarged.querySelector("img").src = shown.src;
  enlarged.querySelector("img").alt = shown.alt;
  enlarged.querySelector("p").textContent = tile.dataset.caption;
  enlarged.tile = tile;
  if (!enlarged.open) enlarged.showModal();
}

if (sheet) {
  page.classList.add("live");
  document.querySelectorAll("input[name=sort]").forEach((choice) => {
    choice.addEventListener("change", () => sortBy(choice.value));
    if (choice.checked) sortBy(choice.value);
  });
  const size = document.getElementById("tile-size");
  size?.addEventListener("input", () => page.style.setProperty("--tile", size.value + "px"));
  sheet.addEventListener("click", (event) => {
    const tile = event.target.closest("li");
    if (tile) enlarge(tile);
  });
  enlarged.addEventListener("keydown", (event) => {
    const next = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
    if (next && enlarged.tile[next]) enlarge(enlarged.tile[next]);
  });
  enlarged.addEventListener("click", (event) => {
    if (event.target === enlarged) enlarged.close();
  });
}
