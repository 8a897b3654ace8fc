import { app } from "/scripts/app.js";

const LOAD = "WanCastCharacterLoad";

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
