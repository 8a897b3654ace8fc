import { make } from "./dom.mjs";
import { isFound, library } from "./library.mjs";
import { say } from "./words.mjs";

function badge(text, title, warns = false) {
    return make("span", { class: warns ? "wancast-badge wancast-warns" : "wancast-badge", title }, text);
}

/** What a card says of the consent; nothing when it is recorded and has no end. */
export function consentBadge({ by, until: date }) {
    if (!by) return badge(say("No consent"), say("No consent is recorded."), true);
    if (!date) return "";
    const today = new Date().toLocaleDateString("sv"); // as YYYY-MM-DD
    if (date < today)
        return badge(say("Ended {date}", { date }), say("The consent ended on {date}.", { date }), true);
    return badge(say("Until {date}", { date }), say("The consent holds until {date}.", { date }));
}

async function showFace(face, signal) {
    const address = await library.thumbnailUrl(face.dataset.character, signal);
    for (const end of ["load", "error"]) face.addEventListener(end, () => URL.revokeObjectURL(address), { once: true });
    face.src = address;
}

/** A function that makes the card of an entry; faces are fetched as cards come into view, until `signal` aborts. */
export function cardMaker(signal) {
    const watch = new IntersectionObserver((changes) => {
        for (const { target } of changes.filter(({ isIntersecting }) => isIntersecting)) {
            watch.unobserve(target);
            showFace(target, signal).catch(() => target.setAttribute("alt", say("No picture")));
        }
    });
    signal.addEventListener("abort", () => watch.disconnect());
    return ({ id, name, has_voice: hasVoice, consent }) => {
        const face = make("img", { class: "wancast-face", alt: "", draggable: "false", "data-character": id });
        watch.observe(face);
        const voice = hasVoice ? make("span", { class: "wancast-voice" }, say("Voice")) : "";
        return make(
            "div",
            { class: "wancast-card", title: name },
            make("div", { class: "wancast-portrait" }, face, voice),
            make("div", { class: "wancast-name", dir: "auto" }, name),
            make("div", { class: "wancast-badges" }, consentBadge(consent)),
        );
    };
}

/** Where a key leads from a place in a grid of `count` cards; where there is no card it leads nowhere. */
function placeAfter(key, place, columns, count) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const last = count - 1;
    const wanted = { Home: 0, End: last }[key] ?? place + steps[key];
    if (wanted >= 0 && wanted <= last) return wanted;
    const isAboveShortRow = key === "ArrowDown" && Math.floor(place / columns) < Math.floor(last / columns);
    return isAboveShortRow ? last : place;
}

/** Characters as cards in a list; one that has not changed keeps its card, and with it its picture. */
export class CardGrid {
    #entries = new Map(); // by their cards

    constructor(list) {
        this.list = list;
    }

    /** Shows a card of every entry. */
    fill(entries, makeCard) {
        const known = new Map([...this.#entries].map(([card, entry]) => [JSON.stringify(entry), card]));
        const cards = entries.map((entry) => known.get(JSON.stringify(entry)) ?? makeCard(entry));
        this.#entries = new Map(cards.map((card, i) => [card, entries[i]]));
        this.list.replaceChildren(...cards);
    }

    /** Hides the cards of which name and tags lack a word of the query. */
    filter(query) {
        for (const [card, entry] of this.#entries) card.toggleAttribute("hidden", !isFound(entry, query));
    }

    /** The cards that the filter lets through. */
    get shown() {
        return [...this.#entries.keys()].filter(({ hidden }) => !hidden);
    }

    get count() {
        return this.#entries.size;
    }

    entryOf(card) {
        return this.#entries.get(card);
    }

    cardOf(id) {
        return [...this.#entries.keys()].find((card) => this.#entries.get(card).id === id);
    }

    /** The card to which an arrow key, Home or End leads from another one. */
    cardAfter(key, card) {
        const { shown } = this;
        const columns = getComputedStyle(this.list).gridTemplateColumns.split(" ").length;
        return shown[placeAfter(key, shown.indexOf(card), columns, shown.length)];
    }
}
