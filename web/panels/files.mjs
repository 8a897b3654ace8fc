import { library } from "../library.mjs";
import { make } from "../dom.mjs";

const LONGEST_NAME = 60; // characters; with the rest it fits every file system

/** A file name that every system takes, from a name that a person gave. */
export function fileNameOf(name) {
    const safe = name.replace(/[^\p{L}\p{M}\p{N}_-]+/gu, "_");
    return `wancast_${[...safe].slice(0, LONGEST_NAME).join("")}.safetensors`;
}

/** Hands a character's file to the browser as a download. */
export async function download({ id, name }) {
    const address = URL.createObjectURL(await library.exportFile(id));
    make("a", { href: address, download: fileNameOf(name) }).click();
    setTimeout(() => URL.revokeObjectURL(address));
}

/** Lets files be dropped on an element, before the page takes them for workflows. */
export function takeFiles(element, take) {
    const hasFiles = ({ dataTransfer }) => dataTransfer.types.includes("Files");
    const mark = (isOver) => element.classList.toggle("wancast-takes-files", isOver);
    element.addEventListener("dragover", (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        mark(true);
    });
    element.addEventListener("dragleave", ({ relatedTarget }) => mark(element.contains(relatedTarget)));
    element.addEventListener("drop", (event) => {
        mark(false);
        if (!hasFiles(event)) return;
        event.preventDefault();
        take([...event.dataTransfer.files]);
    });
}
