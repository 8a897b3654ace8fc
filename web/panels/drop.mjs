import { app } from "/scripts/app.js";

import { addLoadNode } from "../graph.mjs";

const CHARACTER = "application/x-wancast-character"; // what a dragged card carries: a reference
const CANVAS = "#graph-canvas, .dom-widget, [data-testid='transform-pane']"; // and what the renderers lay on it

/** Lets a card be dragged to the canvas. */
export function letDrag(card, reference) {
    card.draggable = true;
    card.addEventListener("dragstart", ({ dataTransfer }) => {
        dataTransfer.setData(CHARACTER, reference);
        dataTransfer.effectAllowed = "copy";
    });
}

/** Lets the canvas take cards; they are caught before nodes on it see them. */
export function takeCards() {
    const isCard = ({ dataTransfer, target }) => dataTransfer.types.includes(CHARACTER) && target.closest(CANVAS);
    const taken = (take) => (event) => {
        if (!isCard(event)) return;
        event.preventDefault();
        event.stopPropagation();
        take(event);
    };
    const drop = ({ dataTransfer, clientX, clientY }) => addLoadNode(dataTransfer.getData(CHARACTER), clientX, clientY);
    const show = ({ dataTransfer }) => (dataTransfer.dropEffect = "copy");
    app.canvasContainer.addEventListener("dragover", taken(show), { capture: true });
    app.canvasContainer.addEventListener("drop", taken(drop), { capture: true });
}
