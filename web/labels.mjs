/** Lets a node's combos say their values in the words of the page's language; what is saved and sent stays English. */
export function labelValues(node, words) {
    for (const widget of node.widgets ?? []) {
        const labels = words?.inputs?.[widget.name]?.options;
        if (labels) widget.options.getOptionLabel = (value) => (value in labels ? `${labels[value]} (${value})` : value);
    }
}
