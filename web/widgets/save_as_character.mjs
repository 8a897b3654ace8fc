import { api } from "/scripts/api.js";
import { app } from "/scripts/app.js";

import { changeGraph } from "../graph.mjs";
import { say } from "../words.mjs";

const SAVE = "WanCastCharacterSave";
const GAP_PX = 60;
const TOAST_MS = 6000;
const waits = new WeakMap(); // a Save node -> what ends the wait for its run

const nameOf = (save) => save.widgets.find(({ name }) => name === "name");

/** The Save node that an encoder's identity leads to already. */
function saveNodeOf(encoder) {
    const targets = encoder.getOutputNodes(encoder.findOutputSlot("identity")) ?? [];
    return targets.find(({ comfyClass }) => comfyClass === SAVE);
}

/** A new Save node right of an encoder, below whatever stands there, and linked to its identity. */
function addSaveNode(encoder) {
    const save = LiteGraph.createNode(SAVE);
    save.pos = [encoder.pos[0] + encoder.size[0] + GAP_PX, encoder.pos[1]];
    changeGraph((graph) => {
        const inTheWay = () => graph.nodes.find((node) => overlap(node, save));
        for (let node = inTheWay(); node; node = inTheWay()) save.pos[1] = node.pos[1] + node.size[1] + GAP_PX;
        graph.add(save);
        encoder.connect("identity", save, "identity");
    });
    return save;
}

/** Whether two nodes cover each other, title bars included. */
function overlap({ pos: [left, top], size: [width, height] }, { pos: [x, y], size: [w, h] }) {
    const title = LiteGraph.NODE_TITLE_HEIGHT;
    return left < x + w && x < left + width && top - title < y + h && y - title < top + height;
}

/**
 * Says that the character is saved when the next run that its Save node has a part in ends well. `ended` ends the wait,
 * as does a queue that is empty again: then the run was taken off it.
 */
function announceNextRun(executionId, name, ended) {
    let takesPart = false;
    const on = (event, react) => api.addEventListener(event, react, { signal: ended.signal });
    on("status", ({ detail }) => detail?.exec_info.queue_remaining === 0 && ended.abort());
    on("execution_start", () => (takesPart = false));
    on("execution_cached", ({ detail }) => (takesPart ||= detail.nodes.includes(executionId)));
    on("executing", ({ detail }) => (takesPart ||= detail === executionId));
    on("execution_success", () => {
        if (!takesPart) return;
        ended.abort();
        const summary = say("{name} is in the cast", { name });
        const detail = say("Its notes, tags and consent are written in the sidebar, under Cast.");
        app.extensionManager.toast.add({ severity: "success", summary, detail, life: TOAST_MS });
    });
}

/** What the host calls a node, which may lie in a subgraph. */
function executionIdOf(node) {
    const { workflow } = app.extensionManager;
    return workflow.nodeLocatorIdToNodeExecutionId(workflow.nodeToNodeLocatorId(node));
}

async function saveAsCharacter(encoder) {
    const known = saveNodeOf(encoder);
    const name = await app.extensionManager.dialog.prompt({
        title: say("Save as character"),
        message: say("Name of the character"),
        defaultValue: known ? nameOf(known).value : "",
    });
    if (!name?.trim()) return;
    const save = known ?? addSaveNode(encoder);
    nameOf(save).value = name.trim();
    save.title = say("Save {name}", { name: name.trim() });
    const executionId = executionIdOf(save);
    const ended = new AbortController();
    waits.get(save)?.abort();
    waits.set(save, ended);
    announceNextRun(executionId, name.trim(), ended);
    if (!(await app.queuePrompt(0, 1, [executionId]))) ended.abort(); // that node alone and what it needs
}

/** The entry of IdentityEncode's menu that keeps the person in the library. */
export const saveAsCharacterItem = (encoder) => ({
    content: say("Save as character"),
    callback: () => saveAsCharacter(encoder),
});
