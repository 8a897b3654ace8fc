import { app } from "/scripts/app.js";

import { CardGrid, cardMaker } from "../cards.mjs";
import { make } from "../dom.mjs";
import { changeGraph } from "../graph.mjs";
import { library } from "../library.mjs";
import { say } from "../words.mjs";

const LEAST_HEIGHT_PX = 250; // a row of cards and a half, below the filter and above the status
const NODE_SIZE_PX = [360, 520];
let pickers = 0;

const idOf = (reference) => reference.split("@")[0];

/**
 * The characters as a listbox with a filter: `chosen` tells which reference is picked, `choose` takes another one, and
 * `isLinked` tells whether it comes from another node.
 */
class Picker {
    #listing; // what is shown; none until the first answer
    #asked; // the promise of the list that is shown, or will be
    #failure; // why there is no list
    #active; // the option that the keys have reached
    #opened = new AbortController();

    constructor({ chosen, choose, isLinked }) {
        Object.assign(this, { chosen, choose, isLinked });
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
        this.grid = new CardGrid(this.list);
        this.status = make("div", { class: "wancast-status", role: "status", "aria-live": "polite" });
        this.element = make("div", { class: "wancast-picker" }, this.filter, this.list, this.status);
        this.filter.addEventListener("input", () => this.#find());
        this.list.addEventListener("focus", () => this.#enter());
        this.list.addEventListener("click", ({ target }) => this.#pick(target.closest("[role=option]")));
        this.element.addEventListener("keydown", (event) => this.#onKey(event));
    }

    /** Shows the characters, and again whenever there is something new, until `close`. */
    open() {
        this.close(); // the page may add a node again
        this.#opened = new AbortController();
        const { signal } = this.#opened;
        const makeCard = cardMaker(signal);
        const seen = new IntersectionObserver(() => this.mark()); // what was set while nobody saw it
        seen.observe(this.element);
        signal.addEventListener("abort", () => seen.disconnect());
        library.addEventListener("changed", () => this.#fill(makeCard), { signal });
        library.renew();
        this.#fill(makeCard);
    }

    close() {
        this.#opened.abort();
        this.#asked = this.#listing = undefined;
        this.grid.fill([]);
    }

    /** Shows a value that was set; the character that it names may have been saved elsewhere meanwhile. */
    async follow() {
        if (this.chosen() && !this.#pickedOption()) await library.renew();
        this.mark();
    }

    /** Shows which character is picked. */
    mark() {
        const picked = this.#pickedOption();
        this.element.toggleAttribute("inert", this.isLinked());
        for (const option of this.list.children) option.setAttribute("aria-selected", option === picked);
        this.#reveal(this.#active ?? picked);
        this.#report();
    }

    async #fill(makeCard) {
        const asked = (this.#asked = library.list());
        const [listing, failure] = await asked.then(
            (listing) => [listing],
            ({ message }) => [{ characters: [], faults: [] }, message],
        );
        if (asked !== this.#asked) return;
        this.#listing = listing;
        this.#failure = failure;
        this.#show(listing.characters, makeCard);
    }

    /** Shows other characters; the keys stay at the card where they are, and the view at its place. */
    #show(characters, makeCard) {
        const { scrollTop, childElementCount: count } = this.list;
        const active = this.grid.entryOf(this.#active)?.id;
        this.grid.fill(characters, (entry) => this.#makeOption(makeCard(entry), entry));
        const query = this.filter.value.trim();
        this.grid.filter(query);
        const option = active || !query ? this.grid.cardOf(active) : this.grid.shown[0];
        this.#activate(option?.hidden ? undefined : option);
        this.mark();
        if (count) this.list.scrollTop = scrollTop;
    }

    #makeOption(card, { id }) {
        card.id = `${this.id}-${id}`;
        card.setAttribute("role", "option");
        return card;
    }

    #pickedOption() {
        return this.isLinked() ? undefined : this.grid.cardOf(idOf(this.chosen()));
    }

    /** Shows what the filter lets through, and leads the keys to the first of it. */
    #find() {
        const query = this.filter.value.trim();
        this.grid.filter(query);
        this.#activate(query ? this.grid.shown[0] : undefined);
        this.mark();
    }

    /** Leads the keys to a card, or to none. */
    #activate(option) {
        this.#active?.classList.remove("wancast-active");
        this.#active = option;
        option?.classList.add("wancast-active");
        for (const element of [this.filter, this.list])
            element.setAttribute("aria-activedescendant", option?.id ?? "");
        this.#reveal(option);
    }

    /** Scrolls the list alone: scrollIntoView would move the canvas, too. */
    #reveal(option) {
        if (!option) return;
        const { list } = this;
        const bottom = option.offsetTop + option.offsetHeight;
        list.scrollTop = Math.min(option.offsetTop, Math.max(list.scrollTop, bottom - list.clientHeight));
    }

    #pick(option) {
        if (!option) return;
        this.#activate(option);
        this.choose(this.grid.entryOf(option).reference);
        this.mark();
    }

    /** Keys work in the picker alone: the canvas would delete and move nodes. Those with Ctrl remain the page's. */
    #onKey(event) {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        event.stopPropagation();
        if (event.isComposing) return;
        const act = event.target === this.filter ? this.#actOfFilter(event.key) : this.#actOfList(event.key);
        if (!act) return;
        event.preventDefault();
        act();
    }

    #actOfFilter(key) {
        const acts = {
            Enter: () => this.#pick(this.#active),
            Escape: () => this.#clear(),
            ArrowDown: () => this.list.focus({ preventScroll: true }),
        };
        return acts[key];
    }

    #actOfList(key) {
        if (/^(Arrow|Home|End)/.test(key)) return () => this.#activate(this.grid.cardAfter(key, this.#active));
        if (key === "Enter" || key === " ") return () => this.#pick(this.#active);
        if (key === "Escape") return () => this.#clear();
        if (key.length === 1 || key === "Backspace") this.filter.focus({ preventScroll: true }); // the key edits it
    }

    /** The keys go on where they were, or from the card that is picked, or from the first. */
    #enter() {
        const [first] = this.grid.shown;
        const picked = this.#pickedOption();
        this.#activate(this.#active ?? (picked && !picked.hidden ? picked : first));
    }

    #clear() {
        this.filter.value = "";
        this.#find();
        this.filter.focus({ preventScroll: true });
    }

    #report() {
        const [text, kind] = this.#stateInWords();
        this.status.textContent = text;
        this.status.classList.toggle("wancast-warns", kind === "warning");
    }

    #stateInWords() {
        if (this.isLinked()) return [say("The connected node says which character.")];
        if (!this.#listing) return [""];
        const { characters, faults } = this.#listing;
        const reference = this.chosen();
        const picked = characters.find(({ id }) => id === idOf(reference));
        const counts = { shown: this.grid.shown.length, count: characters.length };
        if (this.#failure)
            return [say("The characters cannot be listed: {reason}", { reason: this.#failure }), "warning"];
        if (reference && !picked) return [say("The character of this node is not in the library."), "warning"];
        if (picked && reference.includes("@") && picked.reference !== reference)
            return [say("{name} has changed since it was picked.", { name: picked.name }), "warning"];
        if (picked) return [say("{name} is picked; {shown} of {count} characters", { name: picked.name, ...counts })];
        if (faults.length) return [say("Damaged character files: {count}", { count: faults.length }), "warning"];
        if (!counts.count) return [say("No characters yet: WanCast Character Save fills this list.")];
        return [say("{shown} of {count} characters", counts)];
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
        isLinked: () => node.inputs.some(({ widget, link }) => widget?.name === "character" && link !== null),
        choose: (value) => changeGraph(() => reference.setValue(value, { node, canvas: app.canvas })),
    });
    const widget = node.addDOMWidget("cast", "wancast.cast", picker.element, {
        serialize: false,
        hideOnZoom: false,
        getMinHeight: () => LEAST_HEIGHT_PX,
    });
    widget.serialize = false;
    node.setSize(NODE_SIZE_PX.map((least, i) => Math.max(least, node.size[i])));
    after(reference, "callback", () => picker.follow());
    for (const change of ["onConfigure", "onConnectionsChange"]) after(node, change, () => picker.mark());
    after(node, "onAdded", () => picker.open());
    after(node, "onRemoved", () => picker.close());
}
