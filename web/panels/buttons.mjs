import { make } from "../dom.mjs";
import { say } from "../words.mjs";

/** A button that says `text` and calls `press`. */
export function button(text, press, kind = "") {
    const element = make("button", { type: "button", class: `wancast-button ${kind}` }, text);
    element.addEventListener("click", press);
    return element;
}

/** A button that asks before it deletes: "Keep", which has the focus, and Escape leave everything as it is. */
export function deleteButton(question, remove) {
    const place = make("div", { class: "wancast-delete" });
    const ask = button(say("Delete"), () => {
        place.replaceChildren(make("p", { role: "alert" }, question), keep, go);
        keep.focus();
    });
    const leave = () => {
        place.replaceChildren(ask);
        ask.focus();
    };
    const keep = button(say("Keep"), leave);
    const go = button(say("Delete for good"), remove, "wancast-warns");
    place.addEventListener("keydown", (event) => {
        if (event.key !== "Escape" || !keep.isConnected) return;
        event.stopPropagation();
        leave();
    });
    place.append(ask);
    return place;
}
