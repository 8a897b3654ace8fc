import { cardMaker } from "../cards.mjs";
import { make } from "../dom.mjs";
import { library } from "../library.mjs";
import { say } from "../words.mjs";

const HEIGHT_PX = 250; // the least that shows a row of cards and a half
const NODE_SIZE_PX = [340, 480];
const STEPS = { ArrowLeft: -1, ArrowRight: 1 };
const ROWS = { ArrowUp: -1, ArrowDown: 1 };
let pickers = 0;

const folded = (text) => text.normalize("NFKC").toLocaleLowerCase();

/** Whether a name or a tag of the entry holds every word of the query. */
export function isFound({ name, tags }, query) {
    const text = folded([name, ...tags].join("\n"));
    return folded(query)
        .split(/\s+/)
        .every((word) => text.includes(word));
}

/** The list of characters in a node: `chosen` tells the reference that the node has, `choose` gives it another one. */
class Picker {
    #entries = [];
    #cards = new Map(); // by the entry as JSON: what has not changed keeps its card and its picture
    #active = -1; // the place among the cards that are shown
    #shown = [];

    constructor({ chosen, choose, signal }) {
        Object.assign(this, { chosen, choose, signal });
        this.makeCard = cardMaker(signal);
        this.listId = `wancast-characters-${++pickers}`;
        this.filter = make("input", {
            class: "wancast-filter",
            type: "search",
            role: "combobox",
            placeholder: say("Type to find a name or a tag"),
            "aria-label": say("Type to find a name or a tag"),
            "aria-expanded": "true",
            "aria-controls": this.listId,
            "aria-autocomplete": "list",
        });
        this.list = make("div", {
            id: this.listId,
            class: "wancast-cards",
            role: "listbox",
            tabindex: "0",
            "aria-label": say("Characters"),
            "data-capture-wheel": "true",
        });
        this.status = make("div", { class: "wancast-status", role: "status", "aria-live": "polite" });
        this.element = make("div", { class: "wancast-picker" }, this.filter, this.list, this.status);
        this.filter.addEventListener("input", () => this.#show());
        this.list.addEventListener("click", ({ target }) => this.#pick(this.#shown.indexOf(target.closest("[role=option]"))));
        this.element.addEventListener("keydown", (event) => this.#onKey(event));
        library.addEventListener("changed", () => this.load(), { signal });
    }

    /** Fetches the list and shows it. */
    async load() {
        try {
            const { characters } = await library.list();
            this.#entries = characters;
            this.#fill();
        } catch (error) {
            this.#entries = [];
            this.#fill();
            this.#say("wancast-warns", say("The characters cannot be listed: {reason}", { reason: error.message }));
        }
    }

    /** Marks what the node has now. */
    mark() {
        const [id] = this.chosen().split("@");
        for (const card of this.list.children) card.setAttribute("aria-selected", String(card.dataset.id === id));
        this.#report();
    }

    #fill() {
        const cards = new Map();
        for (const entry of this.#entries) {
            const key = JSON.stringify(entry);
            cards.set(key, this.#cards.get(key) ?? this.#makeOption(entry));
        }
        this.#cards = cards;
        this.list.replaceChildren(...cards.values());
        this.#show();
        this.mark();
    }

    #makeOption(entry) {
        const card = this.makeCard(entry);
        card.id = `${this.listId}-${entry.id}`;
        card.dataset.id = entry.id;
        card.setAttribute("role", "option");
        return card;
    }

    #show() {
        const cards = [...this.#cards.values()];
        this.#entries.forEach((entry, i) => (cards[i].hidden = !isFound(entry, this.filter.value)));
        this.#shown = cards.filter((card) => !card.hidden);
        this.#activate(this.filter.value && this.#shown.length ? 0 : -1);
        this.#report();
    }

    #report() {
        const count = this.#entries.length;
        const [id, pinned] = this.chosen().split("@");
        const entry = this.#entries.find((one) => one.id === id);
        if (id && !entry) return this.#say("wancast-warns", say("The character that this node asks for is not in this library."));
        if (!count) return this.#say("", say("No characters yet: WanCast Character Save fills this list."));
        if (entry && pinned && entry.reference !== this.chosen())
            return this.#say("wancast-warns", say("{name} has changed since it was picked.", { name: entry.name }));
        this.#say("", say("{shown} of {count} characters", { shown: this.#shown.length, count }));
    }

    #say(kind, text) {
        this.status.className = `wancast-status ${kind}`;
        this.status.textContent = text;
    }

    #activate(place) {
        for (const card of this.list.querySelectorAll(".wancast-active")) card.classList.remove("wancast-active");
        this.#active = place;
        const card = this.#shown[place];
        for (const element of [this.filter, this.list]) {
            if (card) element.setAttribute("aria-activedescendant", card.id);
            else element.removeAttribute("aria-activedescendant");
        }
        card?.classList.add("wancast-active");
        card?.scrollIntoView({ block: "nearest" });
    }

    #pick(place) {
        const card = this.#shown[place];
        if (!card) return;
        this.#activate(place);
        this.choose(this.#entries.find(({ id }) => id === card.dataset.id).reference);
        this.mark();
    }

    /** What a key does; none of them reaches the canvas, where some would delete or move nodes. */
    #onKey(event) {
        if (event.ctrlKey || event.metaKey) return;
        event.stopPropagation();
    }
}

/** Puts the list of characters into a Load node; what is picked is the value of its input `character`. */
export function addPicker(node) {
    const reference = node.widgets.find(({ name }) => name === "character");
    const ended = new AbortController();
    const choose = (value) => {
        reference.value = value;
        reference.callback?.(value);
    };
    const picker = new Picker({ chosen: () => reference.value, choose, signal: ended.signal });
    const widget = node.addDOMWidget("cast", "wancast.cast", picker.element, {
        serialize: false,
        hideOnZoom: false,
        getMinHeight: () => HEIGHT_PX,
    });
    widget.serialize = false;
    node.setSize(NODE_SIZE_PX.map((least, i) => Math.max(least, node.size[i])));
    const { onConfigure, onRemoved } = node;
    node.onConfigure = function (data) {
        onConfigure?.call(this, data);
        picker.mark();
    };
    node.onRemoved = function () {
        onRemoved?.call(this);
        ended.abort();
    };
    picker.load();
}
