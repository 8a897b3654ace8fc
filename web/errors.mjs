// The frame of an InputError (wan_core/errors.py); what stands in it is the node's own, in English.
const FRAME = /: found (.*?); wanted (.*)$/s;
const FRAMES = { zh: "：实际为 $1；需要 $2" };

/** The message of a node's error with its frame in the language of the page. */
export function sentenceOf(message, locale) {
    const sentence = message.trim();
    return locale in FRAMES ? sentence.replace(FRAME, FRAMES[locale]) : sentence;
}
