import { app } from "/scripts/app.js";

const CHARACTER = "application/x-wancast-character"; // what a dragged card carries: a reference
const LOAD = "WanCastCharacterLoad";
const CANVAS = "#graph-canvas, .dom-widget, [data-testid='transform-pane']"; // and what the renderers lay on it

/** Changes the graph in view as one step of Undo. */
export function changeGraph(change) {
    const { canvas } = app;
    canvas.emitBeforeChange();
    change(canvas.graph);
    canvas.emitAfterChange();
    canvas.setDirty(true, true);
}

/** Puts a Load node of the character into the graph in view, its title bar at a place of the window. */
export function addLoadNode(reference, clientX, clientY) {
    changeGraph((graph) => {
        const node = LiteGraph.createNode(LOAD);
        const [x, y] = app.clientPosToCanvasPos([clientX, clientY]);
        node.pos = [x, y + LiteGraph.NODE_TITLE_HEIGHT / 2];
        node.widgets.find(({ name }) => name === "character").value = reference;
        graph.add(node);
        app.canvas.selectItems([node]);
    });
}

/** Puts a Load node of the character into the middle of what is seen of the canvas. */
export function addLoadNodeInView(reference) {
    const { left, top, width, height } = app.canvas.canvas.getBoundingClientRect();
    addLoadNode(reference, left + width / 2, top + height / 3);
}

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
