import { api } from "/scripts/api.js";
import { app } from "/scripts/app.js";

import { sentenceOf } from "./errors.mjs";
import { labelValues } from "./labels.mjs";

const SHOWN_MS = 60_000;
const locale = () => app.extensionManager.setting.get("Comfy.Locale");
let translations = {};

/** Shows what a node of ours said when it gave up; the page itself says only that it did. */
function showError({ detail }) {
    if (!detail.exception_type.startsWith("WanCast.")) return;
    app.extensionManager.toast.add({
        severity: "error",
        summary: LiteGraph.registered_node_types[detail.node_type]?.title ?? detail.node_type,
        detail: sentenceOf(detail.exception_message, locale()),
        life: SHOWN_MS,
    });
}

app.registerExtension({
    name: "WanCast.Page",
    async init() {
        translations = await api.getCustomNodesI18n();
        api.addEventListener("execution_error", showError);
    },
    nodeCreated(node) {
        const { category } = node.constructor.nodeData ?? {};
        if (category?.startsWith("WanCast/")) labelValues(node, translations[locale()]?.nodeDefs[node.comfyClass]);
    },
});
