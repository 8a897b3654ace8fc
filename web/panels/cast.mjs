import { CardGrid, cardMaker } from "../cards.mjs";
import { make } from "../dom.mjs";
import { sentenceOf as inPageLanguage } from "../errors.mjs";
import { library, LibraryError } from "../library.mjs";
import { locale, say } from "../words.mjs";
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
    return answers()[error.code] ?? inPageLanguage(error.message, locale());
}

/** All characters in the sidebar: found, dragged to the canvas, opened, taken in and handed out. */
class CastPanel {
    #closing = new AbortController();
    #makeCard = cardMaker(this.#closing.signal);
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
        this.grid = new CardGrid(this.list);
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
            const asked = library.list();
            const { characters, faults } = await asked;
            if (asked !== library.list()) return; // there is a newer list
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
        this.grid.fill(entries, (entry) => this.#makeMember(entry));
        this.#makeCurrent(this.list.firstElementChild);
        const entry = entries.find(({ id }) => id === this.#opened?.entry.id);
        if (entry) {
            this.#opened.follow(entry);
            this.#place(this.#opened);
        } else if (this.#opened?.isTyped()) {
            this.alert.textContent = answers().unknown;
            this.list.prepend(this.#opened.element); // what was typed can still be copied
        } else this.#opened = null;
    }

    #makeMember(entry) {
        const card = this.#makeCard(entry);
        for (const [name, value] of Object.entries(CLOSED)) card.setAttribute(name, value);
        letDrag(card, entry.reference);
        return card;
    }

    #faultRows(faults) {
        if (!faults.length) return [];
        const question = say("Delete this file for good?");
        const row = ({ id, message }) => {
            const remove = () => this.#attempt(() => library.remove(id), say("The damaged file is deleted."));
            const sentence = make("p", { dir: "auto" }, inPageLanguage(message, locale()));
            return make("div", { class: "wancast-fault" }, sentence, deleteButton(question, remove));
        };
        return [make("h3", {}, say("Damaged files")), ...faults.map(row)];
    }

    #filter() {
        this.grid.filter(this.search.value.trim());
        if (this.#opened) this.#opened.element.hidden = this.grid.cardOf(this.#opened.entry.id)?.hidden ?? false;
        const [shown, count] = [this.grid.shown.length, this.grid.count];
        this.count.textContent = count
            ? say("{shown} of {count} characters", { shown, count })
            : say("Nobody is here yet. Save a character from the menu of an Identity Encode node, or import a file.");
    }

    // Opening and closing

    #toggle(card) {
        if (!card) return;
        const entry = this.grid.entryOf(card);
        const isOpen = this.#opened?.entry.id === entry.id;
        if (!isOpen && this.#opened?.isTyped()) {
            this.alert.textContent = say("Save or close {name} first.", this.#opened.entry);
            return;
        }
        this.#close();
        if (!isOpen) this.#open(entry);
    }

    #open(entry) {
        const attempt = (action, done) => this.#attempt(action, done);
        this.#opened = new Details(entry, { attempt, close: () => this.#close() });
        this.#place(this.#opened);
        this.#opened.add.focus();
    }

    #place({ entry, element }) {
        const card = this.grid.cardOf(entry.id);
        card.setAttribute("aria-expanded", "true");
        this.#makeCurrent(card);
        card.after(element);
    }

    #close() {
        if (!this.#opened) return;
        const card = this.grid.cardOf(this.#opened.entry.id);
        this.#opened.element.remove();
        this.#opened = null;
        card?.setAttribute("aria-expanded", "false");
        (card ?? this.search).focus();
    }

    // Keys and focus

    /** Keys work in the panel alone, as Escape would leave a subgraph of the page; with Ctrl they are the page's. */
    #onKey(event) {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        event.stopPropagation();
        if (this.grid.entryOf(event.target) && this.#isDone(event.key, event.target)) event.preventDefault();
    }

    #isDone(key, card) {
        if (/^(Arrow|Home|End)/.test(key)) this.grid.cardAfter(key, card).focus();
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
        const id = this.grid.entryOf(focused)?.id;
        redraw();
        if (!isOurs) return;
        const isKept = this.element.contains(focused);
        (isKept ? focused : (this.grid.cardOf(id) ?? this.search)).focus();
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
            library.refresh(); // of what other pages and workflows have saved meanwhile
            panel.show();
        },
        destroy() {
            panel?.end();
            panel = undefined;
        },
    };
}
