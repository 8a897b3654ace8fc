import { make } from "./dom.mjs";
import { library } from "./library.mjs";
import { say } from "./words.mjs";

/** What a card says of the consent: a badge, or none when it is recorded and has no end. */
export function consentBadge({ by, until }) {
    if (!by) return make("span", { class: "wancast-badge wancast-warns" }, say("No consent"));
    if (!until) return "";
    const ended = until < new Date().toISOString().slice(0, 10);
    const kind = ended ? "wancast-badge wancast-warns" : "wancast-badge";
    return make("span", { class: kind }, say(ended ? "Consent ended {date}" : "Consent until {date}", { date: until }));
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
            showFace(target, signal).catch(() => target.classList.add("wancast-faceless"));
        }
    });
    signal.addEventListener("abort", () => watch.disconnect());
    return ({ id, name, has_voice: hasVoice, consent }) => {
        const face = make("img", { class: "wancast-face", alt: "", draggable: "false", "data-character": id });
        watch.observe(face);
        const voice = hasVoice ? make("span", { class: "wancast-badge" }, say("Voice")) : "";
        return make(
            "div",
            { class: "wancast-card", title: name },
            face,
            make("div", { class: "wancast-name", dir: "auto" }, name),
            make("div", { class: "wancast-badges" }, voice, consentBadge(consent)),
        );
    };
}
