import { api } from "/scripts/api.js";
import { app } from "/scripts/app.js";

import { sentenceOf } from "./errors.mjs";

const SHOWN_MS = 60_000;

/** Shows what a node of ours said when it gave up; the page itself says only that it did. */
function showError({ detail }) {
    if (!detail.exception_type.startsWith("WanCast.")) return;
    const { setting, toast } = app.extensionManager;
    toast.add({
        severity: "error",
        summary: LiteGraph.registered_node_types[detail.node_type]?.title ?? detail.node_type,
        detail: sentenceOf(detail.exception_message, setting.get("Comfy.Locale")),
        life: SHOWN_MS,
    });
}

app.registerExtension({
    name: "WanCast.Page",
    setup() {
        api.addEventListener("execution_error", showError);
    },
});
