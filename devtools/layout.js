// Places the nodes of the canvas in columns by depth, without overlap, and prepares them for being saved.
({ packFolder, registryName, version }) => {
    const COLUMN_GAP = 90, WIDEST_GAP = 300, ROW_GAP = 60, SWEEPS = 12, PREVIEW_WIDTH = 260, ASPECT = 16 / 9;
    const DECODED_HEIGHT = 330;  // of the frame that our decode nodes show below while they run
    const nodes = app.graph.nodes;

    // Sizes: what the node needs, wide enough for its title, with room for a picture where one will be shown.
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = "14px Arial";
    for (const node of nodes) {
        const needed = node.computeSize();
        const title = pen.measureText(node.title).width + 70;
        const isPicture = /^(Preview|Save|Load)(Image|Video)$/.test(node.type);
        const shows = isPicture ? 230 : /^(PreviewAny|WanCastCharacterLoad)$/.test(node.type) ? 130 : 0;
        node.setSize([
            Math.max(needed[0], title, Math.min(node.size[0], 380), shows ? PREVIEW_WIDTH : 0),
            Math.max(Math.min(node.size[1], 200), needed[1] + shows),
        ]);
    }

    // Columns: one right of the last node it reads; a node that reads nothing stands just left of its first reader.
    const reads = new Map(nodes.map((node) => [node, []]));
    const readers = new Map(nodes.map((node) => [node, []]));
    for (const link of app.graph.links.values()) {
        const from = app.graph.getNodeById(link.origin_id), to = app.graph.getNodeById(link.target_id);
        reads.get(to).push(from);
        readers.get(from).push(to);
    }
    const depths = new Map();
    const depth = (node) => {
        if (!depths.has(node)) depths.set(node, Math.max(-1, ...reads.get(node).map(depth)) + 1);
        return depths.get(node);
    };
    nodes.forEach(depth);
    for (const node of nodes)
        if (!reads.get(node).length && readers.get(node).length)
            depths.set(node, Math.min(...readers.get(node).map(depth)) - 1);
    const columns = [];
    for (const node of nodes) (columns[depths.get(node)] ??= []).push(node);

    // Rows: each node as near as it can be to the middle of its neighbours; a column keeps its gaps.
    const shown = (node) => node.type === "HighCompressionVAEDecode" ? DECODED_HEIGHT : 0;
    const height = (node) => node.size[1] + LiteGraph.NODE_TITLE_HEIGHT + shown(node);
    const middle = new Map(nodes.map((node) => [node, 0]));
    const pack = (column, wanted) => {
        column.sort((a, b) => wanted.get(a) - wanted.get(b) || Number(a.id) - Number(b.id));
        let bottom = -Infinity, drift = 0;
        for (const node of column) {
            const top = Math.max(wanted.get(node) - height(node) / 2, bottom + ROW_GAP);
            middle.set(node, top + height(node) / 2);
            drift += middle.get(node) - wanted.get(node);
            bottom = top + height(node);
        }
        for (const node of column) middle.set(node, middle.get(node) - drift / column.length);
    };
    for (const column of columns) pack(column, new Map(column.map((node, i) => [node, i])));
    for (let sweep = 0; sweep < SWEEPS; sweep++) {
        const order = sweep % 2 ? [...columns].reverse() : columns;
        for (const column of order) {
            const wanted = new Map();
            for (const node of column) {
                const near = [...reads.get(node), ...readers.get(node)];
                wanted.set(node, near.length ? near.reduce((sum, n) => sum + middle.get(n), 0) / near.length : middle.get(node));
            }
            pack(column, wanted);
        }
    }
    const highest = Math.min(...nodes.map((node) => middle.get(node) - height(node) / 2));
    const lowest = Math.max(...nodes.map((node) => middle.get(node) + height(node) / 2));
    const widths = columns.map((column) => Math.ceil(Math.max(...column.map((node) => node.size[0]))));
    const spare = ASPECT * (lowest - highest) - widths.reduce((sum, width) => sum + width, 0);
    const gap = Math.round(Math.min(WIDEST_GAP, Math.max(COLUMN_GAP, spare / Math.max(1, columns.length - 1))));
    let x = 0;
    columns.forEach((column, i) => {
        for (const node of column)
            node.pos = [x, Math.round(middle.get(node) - height(node) / 2 - highest + LiteGraph.NODE_TITLE_HEIGHT)];
        x += widths[i] + gap;
    });

    // What a saved file says about its nodes.
    for (const node of nodes) {
        node.has_errors = false;
        if (node.constructor.nodeData?.python_module === packFolder)
            Object.assign(node.properties, { cnr_id: registryName, ver: version });
        for (const widget of node.widgets ?? [])
            if (widget.name === "control_after_generate") widget.value = "fixed";
    }
    app.canvas.setDirty(true, true);
}
