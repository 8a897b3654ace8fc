import { api } from "/scripts/api.js";
import { app } from "/scripts/app.js";

import { make } from "./dom.mjs";
import { sentenceOf, showToast } from "./errors.mjs";
import { labelValues } from "./labels.mjs";
import { castTab } from "./panels/cast.mjs";
import { takeCards } from "./panels/drop.mjs";
import { endPreviewWithResult } from "./previews.mjs";
import { addPicker } from "./widgets/picker.mjs";
import { saveAsCharacterItem } from "./widgets/save_as_character.mjs";
import { locale, readTranslations, translated } from "./words.mjs";

let dropError = () => {};

/** Shows what a node of ours said when it gave up, until the next run; the page itself says only that it did. */
function showError({ detail }) {
    if (!detail.exception_type.startsWith("WanCast.")) return;
    const title = LiteGraph.registered_node_types[detail.node_type]?.title ?? detail.node_type;
    dropError = showToast(app.extensionManager.toast, title, sentenceOf(detail.exception_message, locale()));
}

app.registerExtension({
    name: "WanCast.Page",
    settings: [
        {
            id: "WanCast.removeUnfinishedVideos",
            category: ["WanCast", "Decode To Video", "removeUnfinishedVideos"],
            name: "Remove unfinished videos at the next start",
            tooltip:
                "A run of WanCast Decode To Video that was killed leaves .NAME.partial beside its place in the output " +
                "folder; it plays up to about 25 pictures before the last one that was decoded. On: the next start of " +
                "ComfyUI removes them. Off: they are only counted in the log.",
            type: "boolean",
            defaultValue: false,
        },
    ],
    async init() {
        api.addEventListener("execution_start", () => dropError());
        api.addEventListener("execution_error", showError);
        document.head.append(make("link", { rel: "stylesheet", href: new URL("cast.css", import.meta.url) }));
        await readTranslations();
    },
    setup() {
        app.extensionManager.registerSidebarTab(castTab());
        takeCards();
    },
    getNodeMenuItems: (node) => (node.comfyClass === "IdentityEncode" ? [saveAsCharacterItem(node)] : []),
    nodeCreated(node) {
        if (node.comfyClass === "WanCastDecodeToVideo") endPreviewWithResult(node, app.extensionManager);
        if (node.comfyClass === "WanCastCharacterLoad") addPicker(node);
        const { category } = node.constructor.nodeData ?? {};
        if (category?.startsWith("WanCast/")) labelValues(node, translated().nodeDefs?.[node.comfyClass]);
    },
});
