import { api } from "/scripts/api.js";

const CHARACTERS = "/wancast/characters";
// After a run, which may have saved a character, and when the server is back.
const NEWS = ["execution_success", "execution_error", "execution_interrupted", "reconnected"];

/** What the server did not do: `code` in its words ("revision", "name", ...), `status` that of HTTP. */
export class LibraryError extends Error {
    constructor(status, code, message) {
        super(message);
        Object.assign(this, { status, code });
    }
}

const folded = (text) => text.normalize("NFKC").toLowerCase();

/** Whether the name or a tag of the entry holds every word of the query. */
export function isFound({ name, tags }, query) {
    const text = folded([name, ...tags].join("\n"));
    const words = folded(query).split(/\s+/);
    return words.every((word) => text.includes(word));
}

async function request(method, path, { body, type, signal } = {}) {
    const headers = { "X-WanCast": "1", ...(type && { "Content-Type": type }) };
    const response = await api.fetchApi(CHARACTERS + path, { method, headers, body, signal });
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({}));
    throw new LibraryError(response.status, error?.code, error?.message ?? response.statusText);
}

/** The characters that the server keeps; "changed" is dispatched when there is something new to list. */
class Library extends EventTarget {
    #listing; // the promise of the last list, as long as it may hold
    #isInUse = false;
    #renewing; // the promise of a question that is on its way

    /** What the server lists: {characters, faults}, the same promise for all until something changes or fails. */
    list() {
        this.#isInUse = true;
        return this.#listing ?? this.#keep(this.#fetchList());
    }

    /** Asks the server again, if anybody has asked before; what is asked for meanwhile is newer, and stays. */
    async refresh() {
        if (!this.#isInUse) return;
        const before = this.#listing;
        const listing = this.#fetchList();
        const [known, found] = (await Promise.allSettled([before, listing])).map(({ value }) => JSON.stringify(value));
        if (this.#listing !== before || known === found) return;
        this.#keep(listing);
        this.dispatchEvent(new Event("changed"));
    }

    /** Asks again what others may have changed meanwhile, once for all who want to know at a time. */
    renew() {
        this.#renewing ??= this.refresh().finally(() => (this.#renewing = undefined));
        return this.#renewing;
    }

    /** The address of a character's picture as a blob: the caller revokes it. */
    async thumbnailUrl(id, signal) {
        const response = await request("GET", `/${encodeURIComponent(id)}/thumbnail`, { signal });
        return URL.createObjectURL(await response.blob());
    }

    /** Changes name, notes, tags or consent of the revision that the entry shows; returns the new entry. */
    async edit({ id, revision }, changes) {
        const body = JSON.stringify({ revision, ...changes });
        const response = await request("PATCH", `/${encodeURIComponent(id)}`, { body, type: "application/json" });
        return this.#changed(await response.json());
    }

    async remove(id) {
        await request("DELETE", `/${encodeURIComponent(id)}`);
        this.#changed();
    }

    /** Takes in the content of a character file; returns its entry, which has an id of its own. */
    async importFile(file) {
        const response = await request("POST", "/import", { body: file, type: "application/octet-stream" });
        return this.#changed(await response.json());
    }

    /** The file of a character. */
    async exportFile(id) {
        return (await request("GET", `/${encodeURIComponent(id)}/export`)).blob();
    }

    #keep(listing) {
        this.#listing = listing;
        listing.catch(() => {
            if (this.#listing === listing) this.#listing = undefined;
        });
        return listing;
    }

    async #fetchList() {
        return (await request("GET", "")).json();
    }

    #changed(entry) {
        this.#listing = undefined;
        this.dispatchEvent(new Event("changed"));
        return entry;
    }
}

export const library = new Library();
for (const news of NEWS) api.addEventListener(news, () => library.refresh());
document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") library.renew(); // another tab may have changed them
});
