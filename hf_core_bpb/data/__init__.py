"""Read tasks, rows and documents from the Hub, bundles, files and the demo."""
