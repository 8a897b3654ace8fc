const PREVIEW_WIDGET = "$$canvas-image-preview"; // in which the classic page draws the picture

/**
 * Lets a node's live preview go when its result is there; by itself the page keeps it over the result until the next
 * run. Its previews are let go by the store that holds them, which the page does not hand to extensions.
 */
export function endPreviewWithResult(node, { _p: pinia, workflow }) {
    const { onExecuted } = node;
    node.onExecuted = function (output) {
        onExecuted?.call(this, output);
        pinia._s.get("nodeOutput").revokePreviewsByLocatorId(workflow.nodeToNodeLocatorId(this));
        this.imgs = undefined;
        const widget = this.widgets.find(({ name }) => name === PREVIEW_WIDGET);
        if (widget) this.removeWidget(widget);
    };
}
