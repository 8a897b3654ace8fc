import { consentBadge } from "../cards.mjs";
import { make } from "../dom.mjs";
import { addLoadNodeInView } from "../graph.mjs";
import { library } from "../library.mjs";
import { say } from "../words.mjs";
import { button, deleteButton } from "./buttons.mjs";
import { download } from "./files.mjs";

const CONSENT = ["by", "scope", "until"];
const MEBIBYTE = 2 ** 20;

/** What a person may write of a character: by name the label, the element and its attributes. */
const fields = () => ({
    name: [say("Name"), "input", { required: "" }],
    notes: [say("Notes"), "textarea"],
    tags: [say("Tags, with commas between"), "input"],
    by: [say("Consent given by"), "input"],
    scope: [say("What for"), "textarea"],
    until: [say("Until"), "input", { type: "date" }],
});

/** What the library measured of a character, in a line. */
function factsOf({ space, sex, age_years: age, references, revision, created, bytes }) {
    const day = created.slice(0, 10);
    const facts = [
        { female: say("female"), male: say("male") }[sex],
        age !== null && say("about {age} years", { age }),
        say("reference pictures: {count}", { count: references }),
        space,
        say("created {day}, revision {revision}", { day, revision }),
        `${(bytes / MEBIBYTE).toFixed(1)} MiB`,
    ];
    return facts.filter(Boolean).join(" \u00b7 ");
}

/** The text of each field for an entry. */
function textsOf({ name, notes, tags, consent }) {
    return { name, notes, tags: tags.join(", "), ...consent, until: consent.until ?? "" };
}

/**
 * An opened card: what can be done with the character, and all that a person may write of it. `attempt` runs what may
 * fail and shows its error, `close` puts the card back.
 */
export class Details {
    #controls = {};

    constructor(entry, { attempt, close }) {
        this.entry = entry;
        this.facts = make("p", { class: "wancast-facts" });
        const form = make("form", { class: "wancast-form" });
        for (const [name, [label, tag, attributes]] of Object.entries(fields())) {
            this.#controls[name] = make(tag, { name, dir: "auto", autocomplete: "off", ...attributes });
            form.append(make("label", {}, label, this.#controls[name]));
        }
        const save = make("button", { type: "submit", class: "wancast-button wancast-main" }, say("Save"));
        form.append(make("div", { class: "wancast-row" }, save, button(say("Close"), close)));
        const question = say(
            "Delete {name}? Its file, pictures, voice and backups go for good. Workflows that load it will say so.",
            { name: entry.name },
        );
        this.add = button(say("Add to canvas"), () => addLoadNodeInView(this.entry.reference));
        this.element = make(
            "section",
            { class: "wancast-details", "aria-label": entry.name },
            make(
                "div",
                { class: "wancast-row" },
                this.add,
                button(say("Export"), () => attempt(() => download(this.entry))),
                deleteButton(question, () => attempt(() => this.#remove(close), say("{name} is deleted.", entry))),
            ),
            this.facts,
            form,
        );
        this.element.addEventListener("keydown", (event) => {
            if (event.key === "Escape" && !event.isComposing) close();
        });
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            attempt(() => this.#save(close), say("{name} is saved.", { name: this.#controls.name.value }));
        });
        this.follow(entry);
    }

    /** Takes what the library says now; what has been typed since stays. */
    follow(entry) {
        this.entry = entry;
        const badge = consentBadge(entry.consent);
        this.facts.replaceChildren(factsOf(entry), badge && make("div", { class: badge.className }, badge.title));
        for (const [name, text] of Object.entries(textsOf(entry))) {
            const control = this.#controls[name];
            const isTyped = this.isTyped([name]);
            const typed = control.value;
            control.defaultValue = text;
            control.value = isTyped ? typed : text;
        }
    }

    /** Whether the text of a field, or of any of them, differs from what the library says. */
    isTyped(names = Object.keys(this.#controls)) {
        return names.some((name) => this.#controls[name].value !== this.#controls[name].defaultValue);
    }

    async #remove(close) {
        await library.remove(this.entry.id);
        close();
    }

    async #save(close) {
        const changes = this.#changes();
        if (Object.keys(changes).length) await library.edit(this.entry, changes);
        close();
    }

    #changes() {
        const value = (name) => this.#controls[name].value;
        const tags = value("tags").split(/[,\uff0c\u3001]/); // commas, Chinese ones too
        const texts = {
            name: value("name"),
            notes: value("notes"),
            tags: tags.map((tag) => tag.trim()).filter(Boolean),
        };
        const changes = Object.fromEntries(Object.entries(texts).filter(([name]) => this.isTyped([name])));
        if (!this.isTyped(CONSENT)) return changes;
        return { ...changes, consent: { by: value("by"), scope: value("scope"), until: value("until") || null } };
    }
}
