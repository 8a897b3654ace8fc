// The frame of an InputError (wan_core/errors.py); what stands in it is the node's own, in English.
const FRAME = /: found (.*?); wanted (.*)$/s;
const FRAMES = { zh: "：实际为 $1；需要 $2" };

/** The message of a node's error with its frame in the language of the page. */
export function sentenceOf(message, locale) {
    const sentence = message.trim();
    return locale in FRAMES ? sentence.replace(FRAME, FRAMES[locale]) : sentence;
}

/** Shows an error that stays; returns what takes it away. A newer page knows its toasts by ids, an older one by objects. */
export function showToast(toasts, title, text) {
    if (toasts.dismiss) {
        const id = toasts.error(title, { description: text });
        return () => toasts.dismiss(id);
    }
    const toast = { severity: "error", summary: title, detail: text };
    toasts.add(toast);
    return () => toasts.remove(toast);
}
