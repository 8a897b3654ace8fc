import { api } from "/scripts/api.js";
import { app } from "/scripts/app.js";

const PLACE = /\{(\w+)\}/g;
let translations = {};

/** Reads what locales/ has, once, before the first node is made. */
export async function readTranslations() {
    translations = await api.getCustomNodesI18n();
}

/** The language that the page speaks now, "en" or "zh". */
export const locale = () => app.extensionManager.setting.get("Comfy.Locale");

/** What locales/ has in the page's language. */
export const translated = () => translations[locale()] ?? {};

/** An English text of ours as "wancast" of locales/ has it in the page's language; {name} in it becomes values.name. */
export function say(text, values = {}) {
    return (translated().wancast?.[text] ?? text).replace(PLACE, (_, name) => values[name]);
}
