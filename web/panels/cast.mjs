import { cardMaker } from "../cards.mjs";
import { make } from "../dom.mjs";
import { isFound, library, LibraryError } from "../library.mjs";
import { placeAfter } from "../widgets/picker.mjs";
import { say } from "../words.mjs";
import { button, deleteButton } from "./buttons.mjs";
import { Details } from "./details.mjs";
import { letDrag } from "./drop.mjs";
import { takeFiles } from "./files.mjs";

const CLOSED = { role: "button", tabindex: "-1", "aria-expanded": "false" };

/** What a person reads of an answer of the server, by its code; another one speaks for itself. */
const answers = () => ({
    revision: say(
        "This character was changed elsewhere meanwhile. What you typed is still here: save it again if it is right.",
    ),
    name: say("There is a character of this name already. Give it another one."),
    unknown: say("This character is no longer in the library."),
});

/** What a person reads of an error of the library; any other error is a defect of ours and goes on. */
function sentenceOf(error) {
    if (error instanceof TypeError) return say("The server does not answer."); // so fetch says it
    if (!(error instanceof LibraryError)) throw error;
    return answers()[error.code] ?? error.message;
}

/** All characters in the sidebar: found, dragged to the canvas, opened, taken in and handed out. */
class CastPanel {
    #closing = new AbortController();
    #makeCard = cardMaker(this.#closing.signal);
    #entries = [];
    #cards = new Map(); // by the entry as JSON: what has not changed keeps its card and its picture
    #opened = null; // the details of one of them

    constructor() {
        const find = say("Find by name or tag");
        this.search = make("input", { type: "search", class: "wancast-filter", placeholder: find, "aria-label": find });
        this.picked = make("input", { type: "file", accept: ".safetensors", multiple: "", hidden: "" });
        const pick = button(say("Import"), () => this.picked.click());
        this.alert = make("p", { class: "wancast-alert", role: "alert" });
        this.said = make("p", { class: "wancast-said", role: "status" });
        this.count = make("p", { class: "wancast-status", role: "status" });
        this.list = make("div", { class: "wancast-cards" });
        this.faults = make("div", { class: "wancast-faults" });
        this.element = make(
            "div",
            { class: "wancast-cast" },
            make("h2", {}, say("Cast")),
            make("div", { class: "wancast-row" }, this.search, this.picked, pick),
            this.alert,
            this.said,
            this.count,
            this.list,
            this.faults,
        );
        this.search.addEventListener("input", () => this.#filter());
        this.picked.addEventListener("change", () => {
            this.#import([...this.picked.files]);
            this.picked.value = ""; // so that the same file can be picked again
        });
        takeFiles(this.element, (files) => this.#import(files));
        this.list.addEventListener("click", ({ target }) => this.#toggle(target.closest(".wancast-card")));
        this.element.addEventListener("keydown", (event) => this.#onKey(event));
        this.list.addEventListener("focusin", ({ target }) => this.#makeCurrent(target.closest(".wancast-card")));
        library.addEventListener("changed", () => this.show(), { signal: this.#closing.signal });
    }

    /** Lists what the library has now; an opened card stays open with what was typed. */
    async show() {
        try {
            const { characters, faults } = await library.list();
            this.#keepFocus(() => {
                this.#fill(characters);
                this.faults.replaceChildren(...this.#faultRows(faults));
                this.#filter();
            });
        } catch (error) {
            this.alert.textContent = sentenceOf(error);
        }
    }

    end() {
        this.#closing.abort();
    }

    #fill(entries) {
        const cards = new Map();
        for (const entry of entries) {
            const key = JSON.stringify(entry);
            cards.set(key, this.#cards.get(key) ?? this.#makeMember(entry));
        }
        this.#cards = cards;
        this.#entries = entries;
        this.list.replaceChildren(...cards.values());
        this.#makeCurrent(this.list.firstElementChild);
        const entry = entries.find(({ id }) => id === this.#opened?.entry.id);
        if (!entry) return (this.#opened = null);
        this.#opened.follow(entry);
        this.#place(this.#opened);
    }

    #makeMember(entry) {
        const card = this.#makeCard(entry);
        card.dataset.id = entry.id;
        for (const [name, value] of Object.entries(CLOSED)) card.setAttribute(name, value);
        letDrag(card, entry.reference);
        return card;
    }

    #faultRows(faults) {
        if (!faults.length) return [];
        const question = say("Delete this file for good?");
        const row = ({ id, message }) => {
            const remove = () => this.#attempt(() => library.remove(id), say("The damaged file is deleted."));
            const sentence = make("p", { dir: "auto" }, message);
            return make("div", { class: "wancast-fault" }, sentence, deleteButton(question, remove));
        };
        return [make("h3", {}, say("Damaged files")), ...faults.map(row)];
    }

    #filter() {
        const query = this.search.value.trim();
        const cards = [...this.#cards.values()];
        this.#entries.forEach((entry, i) => cards[i].toggleAttribute("hidden", !isFound(entry, query)));
        if (this.#opened) this.#opened.element.hidden = this.#card(this.#opened.entry).hidden;
        const [shown, count] = [this.#shown().length, cards.length];
        this.count.textContent = count
            ? say("{shown} of {count} characters", { shown, count })
            : say("Nobody is here yet. Save a character from the menu of an Identity Encode node, or import a file.");
    }

    #card({ id }) {
        return this.list.querySelector(`[data-id="${CSS.escape(id)}"]`);
    }

    #shown() {
        return [...this.#cards.values()].filter(({ hidden }) => !hidden);
    }

    // Opening and closing

    #toggle(card) {
        if (!card) return;
        const isOpen = this.#opened?.entry.id === card.dataset.id;
        if (!isOpen && this.#opened?.isTyped()) {
            this.alert.textContent = say("Save or close {name} first.", this.#opened.entry);
            return;
        }
        this.#close();
        if (!isOpen) this.#open(this.#entries.find(({ id }) => id === card.dataset.id));
    }

    #open(entry) {
        const attempt = (action, done) => this.#attempt(action, done);
        this.#opened = new Details(entry, { attempt, close: () => this.#close() });
        this.#place(this.#opened);
        this.#opened.add.focus();
    }

    #place({ entry, element }) {
        const card = this.#card(entry);
        card.setAttribute("aria-expanded", "true");
        card.after(element);
    }

    #close() {
        if (!this.#opened) return;
        const card = this.#card(this.#opened.entry);
        this.#opened.element.remove();
        this.#opened = null;
        card.setAttribute("aria-expanded", "false");
        card.focus();
    }

    // Keys and focus

    /** Keys work in the panel alone, as Escape would leave a subgraph of the page; with Ctrl they are the page's. */
    #onKey(event) {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        event.stopPropagation();
        const cards = this.#shown();
        if (cards.includes(event.target) && this.#isDone(event.key, event.target, cards)) event.preventDefault();
    }

    #isDone(key, card, cards) {
        const columns = getComputedStyle(this.list).gridTemplateColumns.split(" ").length;
        if (/^(Arrow|Home|End)/.test(key)) cards[placeAfter(key, cards.indexOf(card), columns, cards.length)].focus();
        else if (key === "Enter" || key === " ") this.#toggle(card);
        else return false;
        return true;
    }

    /** Makes a card the one that Tab reaches. */
    #makeCurrent(card) {
        if (!card) return;
        for (const other of this.list.querySelectorAll("[tabindex='0']")) other.setAttribute("tabindex", "-1");
        card.setAttribute("tabindex", "0");
    }

    /** Redraws; the focus stays where it was, or goes to the card that took the place, or to the search. */
    #keepFocus(redraw) {
        const focused = document.activeElement;
        const isOurs = this.element.contains(focused);
        redraw();
        if (!isOurs) return;
        const isKept = this.element.contains(focused);
        (isKept ? focused : (this.#card({ id: focused.dataset.id ?? "" }) ?? this.search)).focus();
    }

    // What may fail

    async #attempt(action, done = "") {
        this.alert.textContent = this.said.textContent = "";
        try {
            await action();
            this.said.textContent = done;
        } catch (error) {
            this.alert.textContent = sentenceOf(error);
            await library.refresh();
        }
    }

    async #import(files) {
        const taken = [];
        const problems = [];
        for (const file of files) {
            try {
                taken.push((await library.importFile(file)).name);
            } catch (error) {
                problems.push(`${file.name}: ${sentenceOf(error)}`);
            }
        }
        this.alert.textContent = problems.join("\n");
        this.said.textContent = taken.length ? say("Imported: {names}.", { names: taken.join(", ") }) : "";
    }
}

/** The sidebar's tab; the page asks it to render whenever it draws the sidebar, and may take its place away unsaid. */
export function castTab() {
    let panel;
    return {
        id: "wancast.cast",
        icon: "pi pi-users",
        title: say("Cast"),
        tooltip: say("Cast: your characters"),
        type: "custom",
        render(container) {
            if (panel?.element.parentElement === container) return;
            panel?.end();
            panel = new CastPanel();
            container.style.height = "100%";
            container.replaceChildren(panel.element);
            panel.show();
        },
        destroy() {
            panel?.end();
            panel = undefined;
        },
    };
}
