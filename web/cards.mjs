import { make } from "./dom.mjs";
import { library } from "./library.mjs";
import { say } from "./words.mjs";

function badge(text, title, warns = false) {
    return make("span", { class: warns ? "wancast-badge wancast-warns" : "wancast-badge", title }, text);
}

/** What a card says of the consent; nothing when it is recorded and has no end. */
export function consentBadge({ by, until: date }) {
    if (!by) return badge(say("No consent"), say("No consent is recorded."), true);
    if (!date) return "";
    if (date < new Date().toISOString().slice(0, 10))
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
export function placeAfter(key, place, columns, count) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const last = count - 1;
    const wanted = { Home: 0, End: last }[key] ?? place + steps[key];
    if (wanted >= 0 && wanted <= last) return wanted;
    const isAboveShortRow = key === "ArrowDown" && Math.floor(place / columns) < Math.floor(last / columns);
    return isAboveShortRow ? last : place;
}
