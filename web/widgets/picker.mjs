import { app } from "/scripts/app.js";

import { cardMaker } from "../cards.mjs";
import { make } from "../dom.mjs";
import { library } from "../library.mjs";
import { say } from "../words.mjs";

const LEAST_HEIGHT_PX = 250; // a row of cards and a half, below the filter and above the status
const NODE_SIZE_PX = [360, 520];
let pickers = 0;

const folded = (text) => text.normalize("NFKC").toLowerCase();
const idOf = (reference) => reference.split("@")[0];

/** Whether the name or a tag of the entry holds every word of the query. */
export function isFound({ name, tags }, query) {
    const text = folded([name, ...tags].join("\n"));
    return folded(query).split(/\s+/).every((word) => text.includes(word));
}

/** Where a key leads from a place in a grid of `count` cards; where there is no card it leads nowhere. */
export function placeAfter(key, place, columns, count) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const last = count - 1;
    const wanted = { Home: 0, End: last }[key] ?? place + steps[key];
    if (wanted >= 0 && wanted <= last) return wanted;
    const isAboveShortRow = key === "ArrowDown" && Math.floor(place / columns) < Math.floor(last / columns);
    return isAboveShortRow ? last : place;
}

/** The characters as a listbox with a filter: `chosen` tells which reference is picked, `choose` takes another one. */
class Picker {
    #listing = { characters: [], faults: [] };
    #failure; // why there is no list
    #options = new Map(); // an entry as JSON -> its option: what has not changed keeps its card and its picture
    #shown = []; // the options that the filter lets through
    #active = -1; // which of them the keys have reached
    #opened = new AbortController();

    constructor({ chosen, choose }) {
        this.chosen = chosen;
        this.choose = choose;
        this.id = `wancast-picker-${++pickers}`;
        const hint = say("Type to find a name or a tag");
        this.filter = make("input", {
            class: "wancast-filter",
            type: "text",
            role: "combobox",
            placeholder: hint,
            "aria-label": hint,
            "aria-expanded": "true",
            "aria-controls": this.id,
            "aria-autocomplete": "list",
        });
        this.list = make("div", {
            id: this.id,
            class: "wancast-cards",
            role: "listbox",
            tabindex: "0",
            "aria-label": say("Characters"),
            "data-capture-wheel": "true", // with the focus in it, Nodes 2.0 lets the wheel scroll the list
        });
        this.status = make("div", { class: "wancast-status", role: "status", "aria-live": "polite" });
        this.element = make("div", { class: "wancast-picker" }, this.filter, this.list, this.status);
        this.filter.addEventListener("input", () => this.#find());
        this.list.addEventListener("focus", () => this.#activate(Math.max(0, this.#active)));
        this.list.addEventListener("click", ({ target }) => this.#pick(target.closest("[role=option]")));
        this.element.addEventListener("keydown", (event) => this.#onKey(event));
    }

    /** Fetches the characters, and again whenever there is something new, until `close`. */
    open() {
        this.#opened = new AbortController();
        const { signal } = this.#opened;
        const makeCard = cardMaker(signal);
        const seen = new IntersectionObserver(() => this.mark());
        seen.observe(this.element);
        signal.addEventListener("abort", () => seen.disconnect());
        library.addEventListener("changed", () => this.#fill(makeCard), { signal });
        return this.#fill(makeCard);
    }

    close() {
        this.#opened.abort();
        this.#options.clear();
    }

    /** Shows which character is picked. */
    mark() {
        const id = idOf(this.chosen());
        for (const option of this.list.children) option.setAttribute("aria-selected", option.dataset.character === id);
        this.#reveal(this.#shown[this.#active] ?? this.list.querySelector("[aria-selected=true]"));
        this.#report();
    }

    async #fill(makeCard) {
        this.#failure = undefined;
        this.#listing = await library.list().catch((error) => {
            this.#failure = error.message;
            return { characters: [], faults: [] };
        });
        const known = this.#options;
        const entries = this.#listing.characters.map((entry) => [JSON.stringify(entry), entry]);
        this.#options = new Map(entries.map(([key, entry]) => [key, known.get(key) ?? this.#makeOption(entry, makeCard)]));
        this.list.replaceChildren(...this.#options.values());
        this.#find();
        this.mark();
    }

    #makeOption(entry, makeCard) {
        const option = makeCard(entry);
        option.id = `${this.id}-${entry.id}`;
        option.dataset.character = entry.id;
        option.setAttribute("role", "option");
        return option;
    }

    /** Shows what the filter lets through. */
    #find() {
        const query = this.filter.value.trim();
        const options = [...this.#options.values()];
        this.#listing.characters.forEach((entry, i) => options[i].toggleAttribute("hidden", !isFound(entry, query)));
        this.#shown = options.filter(({ hidden }) => !hidden);
        this.#activate(query ? 0 : -1);
        this.#report();
    }

    /** Leads the keys to a card. */
    #activate(place) {
        this.#active = place in this.#shown ? place : -1;
        this.list.querySelector(".wancast-active")?.classList.remove("wancast-active");
        const option = this.#shown[place];
        option?.classList.add("wancast-active");
        for (const element of [this.filter, this.list]) element.setAttribute("aria-activedescendant", option?.id ?? "");
        this.#reveal(option);
    }

    /** Scrolls the list alone: scrollIntoView would move the canvas, too. */
    #reveal(option) {
        if (!option) return;
        const bottom = option.offsetTop + option.offsetHeight;
        this.list.scrollTop = Math.min(option.offsetTop, Math.max(this.list.scrollTop, bottom - this.list.clientHeight));
    }

    #pick(option) {
        if (!option) return;
        this.#activate(this.#shown.indexOf(option));
        this.choose(this.#listing.characters.find(({ id }) => id === option.dataset.character).reference);
        this.mark();
    }

    /** Keys work in the picker alone, as the canvas would delete and move nodes; commands with Ctrl stay the page's. */
    #onKey(event) {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        event.stopPropagation();
        if (event.isComposing) return;
        if (this.#isDone(event.key, event.target === this.filter)) event.preventDefault();
    }

    #isDone(key, isTyping) {
        if (key === "Enter" || (key === " " && !isTyping)) this.#pick(this.#shown[this.#active]);
        else if (key === "Escape") this.#clear();
        else if (isTyping && key === "ArrowDown") this.list.focus({ preventScroll: true });
        else if (!isTyping && /^(Arrow|Home|End)/.test(key)) this.#move(key);
        else if (!isTyping && (key.length === 1 || key === "Backspace")) return this.filter.focus({ preventScroll: true });
        else return false;
        return true;
    }

    #clear() {
        this.filter.value = "";
        this.#find();
        this.filter.focus({ preventScroll: true });
    }

    #move(key) {
        const [first] = this.#shown;
        const columns = this.#shown.filter(({ offsetTop }) => offsetTop === first.offsetTop).length;
        this.#activate(placeAfter(key, this.#active, columns, this.#shown.length));
    }

    #report() {
        const [text, kind] = this.#statusText();
        this.status.textContent = text;
        this.status.classList.toggle("wancast-warns", kind === "warning");
    }

    /** What the status says, and whether it is a warning. */
    #statusText() {
        const { characters, faults } = this.#listing;
        const reference = this.chosen();
        const picked = characters.find(({ id }) => id === idOf(reference));
        if (this.#failure) return [say("The characters cannot be listed: {reason}", { reason: this.#failure }), "warning"];
        if (reference && !picked) return [say("The character of this node is not in the library."), "warning"];
        if (picked && reference.includes("@") && picked.reference !== reference)
            return [say("{name} has changed since it was picked.", picked), "warning"];
        if (faults.length) return [say("Damaged character files: {count}", { count: faults.length }), "warning"];
        if (!characters.length) return [say("No characters yet: WanCast Character Save fills this list.")];
        return [say("{shown} of {count} characters", { shown: this.#shown.length, count: characters.length })];
    }
}

/** Calls `then` after what the owner has as `name`, which may be nothing. */
function after(owner, name, then) {
    const before = owner[name];
    owner[name] = function (...given) {
        const answer = before?.apply(this, given);
        then();
        return answer;
    };
}

/** Puts a picker into a Load node. Its input `character` keeps the value, and is itself among the advanced inputs. */
export function addPicker(node) {
    const reference = node.widgets.find(({ name }) => name === "character");
    reference.advanced = reference.options.advanced = true;
    const picker = new Picker({
        chosen: () => reference.value,
        choose(value) {
            app.canvas.emitBeforeChange(); // one step of undo
            reference.setValue(value, { node, canvas: app.canvas });
            app.canvas.emitAfterChange();
        },
    });
    const widget = node.addDOMWidget("cast", "wancast.cast", picker.element, {
        serialize: false,
        hideOnZoom: false,
        getMinHeight: () => LEAST_HEIGHT_PX,
    });
    widget.serialize = false;
    node.setSize(NODE_SIZE_PX.map((least, i) => Math.max(least, node.size[i])));
    after(reference, "callback", () => picker.mark());
    after(node, "onConfigure", () => picker.mark());
    after(node, "onAdded", () => picker.open());
    after(node, "onRemoved", () => picker.close());
}
