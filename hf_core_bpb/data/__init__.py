"""Tasks, rows, documents and where they come from: the Hub, bundles, files, the demo."""
