// What the router did for a picture: the likely degradation, the experts, and what they cost.

import { make, percent } from "./dom.js";

const SHOWN = 4; // likely degradations
const NAMES = { low_light: "low light", jpeg: "JPEG artefacts" };

const nameOf = (task) => task.split("+").map((part) => NAMES[part] ?? part.replaceAll("_", " ")).join(" and ");

/** Return elements that describe a result of the server. */
export function report({ guess, routing, seconds, width, height, upscale, model, notes, tile_px: tile }) {
  const facts = [`${width} × ${height} pixels`, `${seconds.toFixed(1)} s`, `model ${model}`];
  if (upscale > 1) facts[0] += `, enlarged ${upscale}x`;
  if (tile !== null) facts.push(`in tiles of ${tile} pixels for lack of memory`);
  return [
    make("p", { className: "facts" }, [...facts, ...notes].join(" · ")),
    make("div", { className: "report" }, ...(guess ? [degradations(guess)] : []), experts(routing)),
  ];
}

function degradations({ task, probabilities }) {
  const likely = Object.entries(probabilities).filter(([, share], place) => !place || share >= 0.005).slice(0, SHOWN);
  const known = task !== "unknown";
  const rows = likely.map(([name, share]) =>
    make("li", {},
      make("span", { className: "bar-name" }, nameOf(name)),
      make("span", { className: "bar" }, make("span", { style: `width: ${100 * share}%` })),
      make("span", { className: "bar-value" }, percent(share))));
  return make("section", {},
    make("h3", {}, known ? `Likely degradation: ${nameOf(task)}` : "Degradation: none stands out"),
    make("p", { className: "muted" },
      known ? "What the picture looks like to the network." : "The picture looks like none of these alone."),
    make("ul", { className: "bars" }, ...rows));
}

function experts({ blocks, gmacs, cheapest_gmacs: cheapest, dearest_gmacs: dearest }) {
  const columns = blocks[0].probabilities.map((_, expert) => make("th", { scope: "col" }, `${expert + 1}`));
  const rows = blocks.map((block, number) =>
    make("tr", {},
      make("th", { scope: "row" }, `Block ${number + 1}`, make("small", {}, ` 1/${2 ** block.level}`)),
      ...block.probabilities.map((share, expert) => {
        const taken = block.experts.includes(expert);
        const about = `rank ${block.ranks[expert]}, sees ${block.reach_px[expert]} pixels`;
        const cell = make("td", { className: taken ? "taken" : "", style: `--share: ${share}`, title: about });
        cell.append(percent(share), taken ? make("span", { className: "hidden" }, " chosen") : "");
        return cell;
      })));
  const position = dearest > cheapest ? (gmacs - cheapest) / (dearest - cheapest) : 0;
  return make("section", {},
    make("h3", {}, "Experts that worked"),
    make("p", { className: "muted" },
      "Each block of the network has several experts, from cheap (1) to costly. ",
      "The shade is the router’s preference, the outline its choice."),
    make("table", { className: "experts" },
      make("thead", {}, make("tr", {}, make("td", {}), ...columns)), make("tbody", {}, ...rows)),
    make("div", { className: "cost" },
      make("span", {}, "cheap"),
      make("span", { className: "scale", role: "img",
        "aria-label": `Cost: ${percent(position)} of the way from the cheapest to the costliest route` },
        make("span", { style: `left: ${100 * position}%` })),
      make("span", {}, "costly")),
    make("p", { className: "muted" }, `This route: ${round(gmacs)} GMACs, of ${round(cheapest)} to ${round(dearest)}.`));
}

const round = (value) => Number(value.toPrecision(3)).toString();
